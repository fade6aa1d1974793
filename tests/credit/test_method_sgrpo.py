from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scripted_policy import ScriptedPolicy, ids_of, small_segmenter, small_tokenizer

from attnpo.credit import GroupBatch, Requests, build_method
from attnpo.credit.methods.sgrpo import FORCED, PLACE
from attnpo.errors import ConfigError, DataError

CLOSING = "\n</think>\n\n"
PATH = "First, Gus has 4+3=7.\n\nNext, Bob has 7-2=5.\n\nWait, 5+2=7. Yes.\n</think>\n\nThe answer is \\boxed{5}."
SMALL = {"closing": CLOSING}


def knows_five(wanted, prefix):
    """The path, and answers that are right once the thought holds the value."""
    if not wanted.prefix_ids:
        return PATH
    return "The answer is \\boxed{5}." if "7-2=5" in prefix else "The answer is \\boxed{7}."


def requests(groups=1, size=4, limit=64, step=0):
    rows = groups * size
    return Requests(
        prompt_ids=[(1, 2)] * rows,
        solutions=["5"] * rows,
        group_ids=[10 + row // size for row in range(rows)],
        samples=[row % size for row in range(rows)],
        max_new_tokens=limit,
        progress_step=step,
    )


def text(ids):
    return small_segmenter()(ids).text


def groups(places, correct):
    shape = torch.tensor(correct)
    return GroupBatch(
        correct_PG=shape,
        lengths_PG=torch.ones_like(shape, dtype=torch.long),
        finished_PG=torch.ones_like(shape),
        facts={PLACE: torch.tensor(places, dtype=torch.float32)},
    )


def test_worked_serial_group():
    method = build_method("sgrpo")
    # exits at 3, 8, 12 and 20 tokens, the path last: wrong, right, right, wrong, right
    group = groups([[3, 8, 12, 20, 0]], [[False, True, True, False, True]])
    rewards = method.rewards(group)
    assert rewards.tolist() == [[0, 1, 0.5, 0, 0.25]]
    # mean 0.35
    expected = [-0.35, 0.65, 0.15, -0.35, -0.1]
    assert method.advantages(rewards, group)[0].tolist() == pytest.approx(expected)


def test_rank_goes_by_place_and_the_path_comes_last_wherever_it_stands():
    method = build_method("sgrpo")
    group = groups([[0, 12, 3]], [[True, True, True]])
    assert method.rewards(group).tolist() == [[0.25, 0.5, 1]]


def test_copies_of_the_path_earn_what_the_path_earns():
    method = build_method("sgrpo")
    group = groups([[5, 0, 0]], [[True, True, True]])
    assert method.rewards(group).tolist() == [[1, 0.5, 0.5]]
    alone = groups([[0, 0, 0]], [[True, True, True]])
    assert method.advantages(method.rewards(alone), alone).tolist() == [[0, 0, 0]]


def test_the_group_is_one_path_and_its_exits():
    script = ScriptedPolicy(knows_five)
    drawn = build_method("sgrpo", SMALL).sample(requests(), script.policy)
    paths, answers = script.calls
    assert [(each.row, each.prefix_ids, each.max_new_tokens, each.sample) for each in paths] == [(3, (), 64, 3)]
    assert [each.row for each in answers] == [0, 1, 2]
    assert drawn.responses[3].ids == ids_of(PATH)
    think = small_segmenter()(ids_of(PATH)).steps[-1].tokens[1]
    places = drawn.facts[PLACE]
    assert places[3] == 0
    assert 0 < places[0] < places[1] < places[2] <= think
    for row, each in enumerate(answers):
        start, end = (int(drawn.facts[name][row]) for name in FORCED)
        ids = drawn.responses[row].ids
        assert start == places[row]
        assert ids[:start] == ids_of(PATH)[:start]
        assert text(ids[start:end]) == CLOSING
        assert tuple(ids[:end]) == each.prefix_ids
        assert text(ids[end:]) == knows_five(each, text(ids[:end]))
        assert each.max_new_tokens == 64 - end
        assert drawn.responses[row].finished
    # the policy drew the path and the answers, nothing else
    assert script.drawn == len(ids_of(PATH)) + sum(len(r.ids) for r in drawn.responses[:3]) - sum(
        drawn.facts[FORCED[1]][:3]
    )


def test_the_earliest_exit_that_can_answer_earns_most():
    script = ScriptedPolicy(knows_five)
    method = build_method("sgrpo", {**SMALL, "places": "even"})
    drawn = method.sample(requests(size=6), script.policy)
    segmented = [small_segmenter()(each.ids).text for each in drawn.responses]
    correct = script.policy.verify(segmented, ["5"] * 6)
    assert correct == ["7-2=5" in each for each in segmented]
    assert 0 < sum(correct) < 6
    rewards = method.rewards(groups([drawn.facts[PLACE]], [correct]))[0].tolist()
    first = correct.index(True)
    assert rewards == [0.0] * first + [0.5**rank for rank in range(6 - first)]


def test_every_group_has_its_path_in_two_draws_and_places_of_its_own():
    script = ScriptedPolicy(knows_five)
    method = build_method("sgrpo", SMALL)
    drawn = method.sample(requests(groups=3, size=4), script.policy)
    assert [len(call) for call in script.calls] == [3, 9]
    assert [each.row for each in script.calls[0]] == [3, 7, 11]
    places = [tuple(drawn.facts[PLACE][start : start + 3]) for start in (0, 4, 8)]
    assert len(set(places)) > 1
    again = method.sample(requests(groups=3, size=4), ScriptedPolicy(knows_five).policy)
    assert again.facts == drawn.facts
    later = method.sample(requests(groups=3, size=4, step=1), ScriptedPolicy(knows_five).policy)
    assert later.facts != drawn.facts


def test_a_path_that_never_closed_its_think_part_has_no_exits():
    script = ScriptedPolicy(lambda wanted, prefix: PATH)
    method = build_method("sgrpo", SMALL)
    drawn = method.sample(requests(size=3, limit=20), script.policy)
    assert [len(call) for call in script.calls] == [1]
    assert script.drawn == 20
    assert [each.ids for each in drawn.responses] == [ids_of(PATH)[:20]] * 3
    assert not any(each.finished for each in drawn.responses)
    assert all(fact == [0.0] * 3 for fact in drawn.facts.values())
    group = groups([drawn.facts[PLACE]], [[False] * 3])
    assert method.advantages(method.rewards(group), group).tolist() == [[0, 0, 0]]


@pytest.mark.parametrize("thought", ["", "Gus.\n"])
def test_short_thoughts_have_fewer_exits_and_copies_instead(thought):
    path = thought + "</think>\n\nThe answer is \\boxed{5}."
    script = ScriptedPolicy(lambda wanted, prefix: path if not wanted.prefix_ids else "\\boxed{5}.")
    drawn = build_method("sgrpo", SMALL).sample(requests(size=6), script.policy)
    # nothing before the tag; or a name, a full stop, and a line break that the closing brings itself
    cut = [place for place in drawn.facts[PLACE] if place]
    assert cut == list(range(1, len(ids_of(thought[:-1], ends=False)) + 1))
    assert len(cut) < 5
    assert drawn.facts[PLACE] == [*cut, *[0.0] * (6 - len(cut))]
    assert [each.ids for each in drawn.responses[len(cut) :]] == [ids_of(path)] * (6 - len(cut))


def test_cuts_leave_room_for_an_answer():
    limit = len(ids_of(PATH))
    script = ScriptedPolicy(knows_five)
    drawn = build_method("sgrpo", {**SMALL, "closing": "\n</think>\n\nSo, in short, " * 4}).sample(
        requests(size=6, limit=limit), script.policy
    )
    assert all(0 < len(each.ids) <= limit for each in drawn.responses)
    assert all(each.max_new_tokens >= 1 for call in script.calls for each in call)


def test_answers_can_be_limited():
    script = ScriptedPolicy(knows_five)
    drawn = build_method("sgrpo", {**SMALL, "answer_tokens": 3}).sample(requests(), script.policy)
    assert [each.max_new_tokens for each in script.calls[1]] == [3, 3, 3]
    assert [each.finished for each in drawn.responses] == [False, False, False, True]


def spread(method, steps, spans, width):
    facts = {
        name: torch.tensor([span[side] for span in spans], dtype=torch.float32) for side, name in enumerate(FORCED)
    }
    steps = replace(steps, facts=facts)
    return method.spread(steps, method.gamma(steps), torch.full((len(spans), width), -1))


def test_the_closing_carries_no_credit(make_steps):
    steps = make_steps([[0.0], [0.0]], advantage=[0.65, -0.1], response=[6, 5])
    method = build_method("sgrpo")
    found = spread(method, steps, [(2, 4), (0, 0)], 6)
    torch.testing.assert_close(found, torch.tensor([[0.65, 0.65, 0, 0, 0.65, 0.65], [-0.1] * 6]))
    credited = spread(build_method("sgrpo", {"credit_closing": True}), steps, [(2, 4), (0, 0)], 6)
    torch.testing.assert_close(credited, torch.tensor([[0.65] * 6, [-0.1] * 6]))


@settings(max_examples=60)
@given(st.data())
def test_groups_sum_to_zero_and_earlier_correct_exits_earn_more(data):
    size = data.draw(st.integers(2, 9))
    places = data.draw(st.lists(st.integers(0, 30), min_size=size, max_size=size))
    correct = data.draw(st.lists(st.booleans(), min_size=size, max_size=size))
    method = build_method("sgrpo")
    group = groups([places], [correct])
    rewards = method.rewards(group)
    assert method.advantages(rewards, group).sum().item() == pytest.approx(0, abs=1e-5)
    earned = rewards[0].tolist()
    assert all((reward > 0) == right for reward, right in zip(earned, correct, strict=True))
    keys = [place or 99 for place in places]
    for i in range(size):
        for j in range(size):
            if correct[i] and correct[j] and keys[i] < keys[j]:
                assert earned[i] >= 2 * earned[j]


@settings(max_examples=40, deadline=None)
@given(start=st.integers(0, 8), length=st.integers(0, 4), advantage=st.floats(-1, 1, width=32).filter(bool))
def test_no_credit_on_forced_tokens_and_full_credit_elsewhere(make_steps, start, length, advantage):
    steps = make_steps([[0.0]], advantage=advantage, response=12)
    found = spread(build_method("sgrpo"), steps, [(start, start + length)], 12)[0].tolist()
    expected = [0.0 if start <= place < start + length else advantage for place in range(12)]
    assert found == pytest.approx(expected)


def test_it_needs_the_places():
    group = replace(groups([[1, 0]], [[True, True]]), facts={})
    with pytest.raises(DataError, match=r"^method sgrpo: needs the places of the exits"):
        build_method("sgrpo").rewards(group)


def test_settings():
    own = build_method("sgrpo").settings
    assert own.closing == "Time is limited, stop thinking and start answering.\n</think>\n\n"
    assert (own.advantage, own.scale_advantages, own.decay, own.places) == ("grpo", False, 0.5, "random")
    with pytest.raises(ConfigError, match=r"^places: 'first' is not allowed"):
        build_method("sgrpo", {"places": "first"})
    # the small world spells the published text letter by letter: it knows neither "Time" nor "limited"
    assert len(small_tokenizer()(own.closing, add_special_tokens=False)["input_ids"]) > 30
