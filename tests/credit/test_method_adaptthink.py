from __future__ import annotations

import json
import math

import pytest
import torch
from fake_policy import FakePolicy, make_requests, world_tokenizer
from hypothesis import given, settings
from hypothesis import strategies as st

from attnpo.credit import Continuation, build_method
from attnpo.errors import ConfigError, DataError
from attnpo.rollouts import Rollout, write_rollouts

HALF = math.log(0.5)
GROUP = [(True, 10), (False, 10), (True, 90), (False, 90)]


def ids(text):
    return world_tokenizer()(text, add_special_tokens=False)["input_ids"]


CLOSE = ids("</think>")


def measured(method, keys=("p0", "p1", "p2"), accuracy=0.5):
    method.load_state_dict({"reference_accuracy": dict.fromkeys(keys, accuracy)})
    return method


def with_reference(groups, *accuracies):
    fact_PG = torch.tensor(accuracies)[:, None].expand_as(groups.correct_PG)
    return type(groups)(**{**vars(groups), "facts": {**groups.facts, "reference_accuracy": fact_PG}})


def advantages(groups, **settings):
    method = build_method("adaptthink", {"ratio": "token", **settings})
    return method.advantages(method.rewards(groups), groups)


def test_worked_example(make_groups):
    # The first two answer without thinking; the untrained policy is right in 3 of 4.
    groups = with_reference(make_groups(GROUP, no_think=[0, 1]), 0.75)
    assert advantages(groups)[0].tolist() == pytest.approx([0.30, -0.70, 0.25, -0.75])
    assert advantages(groups, delta=0)[0].tolist() == pytest.approx([0.25, -0.75, 0.25, -0.75])
    assert advantages(groups, delta=0.5)[0].tolist() == pytest.approx([0.75, -0.25, 0.25, -0.75])


def test_each_problem_is_held_against_its_own_accuracy(make_groups):
    groups = with_reference(make_groups([[(True, 5)], [(False, 5)]]), 1.0, 0.0)
    # What the untrained policy could or could not do is worth nothing, however the group turns out.
    assert advantages(groups).tolist() == [[0], [0]]


def test_further_rewards_count(make_groups):
    groups = with_reference(make_groups(GROUP), 0.5)
    method = build_method("adaptthink", {"ratio": "token"})
    assert method.advantages(torch.tensor([[1.5, 0.0, 2.0, -1.0]]), groups)[0].tolist() == [1.0, -0.5, 1.5, -1.5]


def test_what_the_groups_must_carry(make_groups):
    method, groups = build_method("adaptthink"), make_groups(GROUP)
    with pytest.raises(DataError, match=r"^method adaptthink: needs the accuracies of the untrained policy"):
        method.advantages(method.rewards(groups), groups)
    without = type(groups)(**{**vars(groups), "facts": {}})
    with pytest.raises(DataError, match=r"^method adaptthink: needs the modes of the responses"):
        method.rewards(without)


@pytest.mark.parametrize(
    ("ratios", "factors"),
    [
        ((1, 1, 1, 1), (1, 1, 1, 1)),
        # outside the clip range only where the clipped objective is the smaller one: too likely and good, rare and bad
        ((0.7, 0.7, 1.3, 1.3), (0.7, 0, 0, 1.3)),
        ((1.3, 1.3, 0.7, 0.7), (0, 1.3, 0.7, 0)),
    ],
)
def test_a_responses_ratio_weighs_its_advantage(make_groups, ratios, factors):
    groups = with_reference(make_groups(GROUP, no_think=[0, 1]), 0.75)
    groups.facts["mixture_ratio"] = torch.tensor([ratios], dtype=torch.float32)
    expected = [factor * value for factor, value in zip(factors, (0.30, -0.70, 0.25, -0.75), strict=True)]
    assert advantages(groups, ratio="response")[0].tolist() == pytest.approx(expected)
    if ratios[0] == 0.7:
        # with a wider range nothing is clipped
        wide = [ratio * value for ratio, value in zip(ratios, (0.30, -0.70, 0.25, -0.75), strict=True)]
        assert advantages(groups, ratio="response", clip=0.4)[0].tolist() == pytest.approx(wide)


@given(st.lists(st.floats(0.1, 3), min_size=4, max_size=4), st.floats(0, 1))
def test_the_weight_is_the_gradient_of_ppos_objective(make_groups, ratios, accuracy):
    groups = with_reference(make_groups(GROUP), accuracy)
    ratio_PG = torch.tensor([ratios], dtype=torch.float32, requires_grad=True)
    groups.facts["mixture_ratio"] = ratio_PG.detach()
    plain_PG = groups.correct_PG.float() - torch.tensor(accuracy)
    torch.minimum(ratio_PG * plain_PG, ratio_PG.clamp(0.8, 1.2) * plain_PG).sum().backward()
    # d/d log-probability = ratio * d/d ratio
    torch.testing.assert_close(advantages(groups, ratio="response"), ratio_PG.detach() * ratio_PG.grad)


# Before training


def test_the_untrained_policy_is_measured_on_every_problem():
    fake = FakePolicy(write=lambda item: "</think>So " + "01"[item.sample < 3 and item.row > 0])
    method = build_method("adaptthink", {"reference_samples": 4})
    assert method.begin_preparing(["p0", "p1", "p2"], None) == {"p0", "p1", "p2"}
    method.prepare(make_requests(groups=3, size=1, limit=77), fake.policy)
    assert fake.drawn == [Continuation(row, 77, (), sample) for row in range(3) for sample in range(4)]
    # Wanted are "0", "1" and "2"; written is 0 to the first problem, 1, 1, 1, 0 to the others.
    assert method.state_dict() == {"reference_accuracy": {"p0": 1.0, "p1": 0.75, "p2": 0.0}}
    assert method.metrics() == {"reference_accuracy": pytest.approx(1.75 / 3)}


def test_what_was_learnt_goes_through_json(make_groups):
    method = measured(build_method("adaptthink"))
    again = build_method("adaptthink")
    assert again.metrics() == {}
    again.load_state_dict(json.loads(json.dumps(method.state_dict())))
    assert again.state_dict() == method.state_dict()


def test_problems_come_some_at_a_time_and_those_measured_before_are_kept():
    method = build_method("adaptthink", {"reference_samples": 2})
    # "p9" was measured in vain: this run's problems are others.
    assert method.begin_preparing(["p0", "p1", "p5"], {"reference_accuracy": {"p5": 0.5, "p9": 0.5}}) == {"p0", "p1"}
    method.prepare(make_requests(groups=1, size=1), FakePolicy(write=lambda item: "</think>So 0").policy)
    assert method.state_dict() == {"reference_accuracy": {"p5": 0.5, "p0": 1.0}}
    assert method.begin_preparing(["p0"], None) == {"p0"}
    assert method.state_dict() == {"reference_accuracy": {}}


def test_responses_at_hand_are_not_sampled_again(tmp_path):
    path = tmp_path / "rollouts.jsonl"
    rows = [Rollout("p0", "", "0", sample, (1,), "", True, correct=sample == 0) for sample in range(4)]
    write_rollouts(path, [*rows, Rollout("other", "", "0", 0, (1,), "", True, correct=True)])
    method = build_method("adaptthink", {"reference_samples": 2, "reference_rollouts": str(path)})
    assert method.begin_preparing(["p0", "p1"], None) == {"p1"}
    assert method.state_dict() == {"reference_accuracy": {"p0": 0.25}}


def test_responses_to_other_problems_are_refused(tmp_path):
    path = tmp_path / "rollouts.jsonl"
    write_rollouts(path, [Rollout("other", "", "0", 0, (1,), "", True, correct=True)])
    method = build_method("adaptthink", {"reference_rollouts": str(path)})
    with pytest.raises(DataError, match=r"^reference_rollouts: .*rollouts.jsonl has none of the training problems"):
        method.begin_preparing(["p0", "p1"], None)


# What is drawn


def test_half_of_each_group_answers_at_once():
    fake = FakePolicy(write=lambda item: "\n\nSo 3." if item.prefix_ids == tuple(CLOSE) else " Mia.\n</think>\n\nSo 3.")
    method = measured(build_method("adaptthink", {"ratio": "token", "think_opening": "Wait,"}))
    requests = make_requests(groups=3, size=4, step=2, limit=50)
    drawn = method.sample(requests, fake.policy)
    word = ids("Wait,")
    assert len(word) > 1
    for row, (item, response) in enumerate(zip(fake.drawn, drawn.responses, strict=True)):
        thinks = method.thinks(requests.group_ids[row], requests.samples[row], 2)
        opening = word if thinks else CLOSE
        assert item == Continuation(row, 50 - len(opening), tuple(opening), requests.samples[row])
        rest = [*ids(fake.write(item)), world_tokenizer().eos_token_id]
        assert (response.ids, response.finished) == ([*opening, *rest], True)
        certain = dict.fromkeys(range(len(opening)), 0.0)
        assert drawn.sampling_log_probs[row] == {**certain, 0: HALF}
    for group in range(3):
        assert sum(method.thinks(group, sample, 2) for sample in range(4)) == 2
    assert drawn.facts == {"reference_accuracy": [0.5] * 12}


def test_which_half_is_a_fair_coin_of_seed_step_and_group():
    def first(group=0, step=0, **settings):
        return build_method("adaptthink", settings).thinks(group, 0, step)

    heads = sum(first(group, step) for group in range(40) for step in range(40))
    assert heads == pytest.approx(800, abs=80)  # standard deviation 20
    assert [first(group) for group in range(40)] != [first(group, seed=1) for group in range(40)]
    # Groups of odd size: one more of either, as the coin says.
    method = build_method("adaptthink")
    assert {sum(method.thinks(group, sample, 0) for sample in range(5)) for group in range(40)} == {2, 3}


def test_a_prompt_that_does_not_open_the_think_part():
    fake = FakePolicy()
    method = measured(build_method("adaptthink", {"ratio": "token", "think_opening": "Wait"}))
    requests = make_requests(size=2, opened=False)
    drawn = method.sample(requests, fake.policy)
    tag = ids("<think>\n")
    for row, response in enumerate(drawn.responses):
        own = ids("Wait") if method.thinks(0, row, 0) else CLOSE
        assert response.ids[: len(tag) + len(own)] == [*tag, *own]
        # Both halves begin with the tag, so it is certain; then they part.
        rest = dict.fromkeys(range(len(tag), len(tag) + len(own)), 0.0)
        assert drawn.sampling_log_probs[row] == {**dict.fromkeys(range(len(tag)), 0.0), **rest, len(tag): HALF}


@pytest.mark.parametrize("opened", [True, False])
def test_without_an_opening_the_first_token_is_the_policys(opened):
    vocabulary = len(world_tokenizer())
    likely = ids("Wait")[0], ids("So")[0]
    weights = torch.full((vocabulary,), 1e-9)
    weights[CLOSE[0]], weights[likely[0]], weights[likely[1]] = 0.6, 0.1, 0.3
    fake = FakePolicy(first=weights.log())
    method = measured(build_method("adaptthink", {"ratio": "token", "think_opening": ""}))
    requests = make_requests(groups=3, size=40, opened=opened)
    drawn = method.sample(requests, fake.policy)
    common = [] if opened else ids("<think>\n")
    thinking = [row for row in range(120) if method.thinks(requests.group_ids[row], requests.samples[row], 0)]
    assert len(thinking) == 60
    assert fake.contexts == [[*requests.prompt_ids[row], *common] for row in thinking]
    place = len(common)
    seen = set()
    for row in range(120):
        log_probs, first = drawn.sampling_log_probs[row], drawn.responses[row].ids[place]
        assert drawn.responses[row].ids[:place] == common
        if row not in thinking:
            expected = HALF
            assert first == CLOSE[0]
        else:
            # 1/2 * p / (1 - p(</think>))
            expected = HALF + math.log({likely[0]: 0.25, likely[1]: 0.75}[first])
            seen.add(first)
        assert log_probs == {**dict.fromkeys(range(place), 0.0), place: pytest.approx(expected, abs=1e-5)}
        assert fake.drawn[row] == Continuation(row, 50 - place - 1, (*common, first), requests.samples[row])
    assert seen == set(likely)


def test_a_first_token_that_ends_the_response():
    end = world_tokenizer().eos_token_id
    weights = torch.full((len(world_tokenizer()),), -1e9)
    weights[end] = 0.0
    fake = FakePolicy(first=torch.log_softmax(weights, dim=0))
    method = measured(build_method("adaptthink", {"ratio": "token", "think_opening": ""}))
    drawn = method.sample(make_requests(size=2), fake.policy)
    (row,) = [row for row in range(2) if method.thinks(0, row, 0)]
    assert (drawn.responses[row].ids, drawn.responses[row].finished) == ([end], True)
    assert [item.row for item in fake.drawn] == [1 - row]


@settings(max_examples=15)
@given(groups=st.lists(st.integers(0, 99), min_size=1, max_size=4, unique=True), size=st.integers(1, 6), data=st.data())
def test_a_response_does_not_depend_on_which_process_draws_it(groups, size, data):
    vocabulary = len(world_tokenizer())
    first = torch.log_softmax(torch.arange(vocabulary) / 100, dim=0)
    method = measured(build_method("adaptthink", {"ratio": "token", "think_opening": ""}))
    whole = make_requests(groups=1, size=len(groups) * size, step=3)
    whole.group_ids[:] = [group for group in groups for _ in range(size)]
    whole.samples[:] = list(range(size)) * len(groups)
    together = method.sample(whole, FakePolicy(first=first).policy)
    cut = data.draw(st.integers(0, len(whole)))
    for rows in (range(cut), range(cut, len(whole))):
        part = make_requests(groups=1, size=len(rows), step=3)
        part.group_ids[:] = [whole.group_ids[row] for row in rows]
        part.samples[:] = [whole.samples[row] for row in rows]
        apart = method.sample(part, FakePolicy(first=first).policy)
        assert apart.responses == [together.responses[row] for row in rows]
        assert apart.sampling_log_probs == [together.sampling_log_probs[row] for row in rows]


@pytest.mark.parametrize("word", ["", "Wait,"])
def test_a_responses_ratio_is_that_of_its_mean_log_probability(word):
    weights = torch.full((len(world_tokenizer()),), 1e-9)
    for text, share in (("</think>", 0.001), ("Wait", 0.9), (",", 0.05), ("So", 0.049)):
        weights[ids(text)[0]] = share
    fake = FakePolicy(first=weights.log(), write=lambda item: "So 3." * (1 + item.sample))
    drawn = measured(build_method("adaptthink", {"think_opening": word})).sample(make_requests(groups=2), fake.policy)
    assert drawn.sampling_log_probs is None
    for response, ratio in zip(drawn.responses, drawn.facts["mixture_ratio"], strict=True):
        first = response.ids[0]
        if first == CLOSE[0]:
            total = math.log(0.001 / 0.5)
        elif word:  # the first token was forced in half of the cases, the comma in all of them
            total = math.log(0.9 / 0.5) + math.log(0.05 / 1)
        else:  # p / (p / 2 / (1 - 0.001)), whatever the token
            total = math.log(2 * 0.999)
        assert ratio == pytest.approx(math.exp(total / len(response.ids)), rel=1e-3)


# Mistakes


def test_a_problem_that_was_not_measured():
    with pytest.raises(DataError, match=r"^method adaptthink: the untrained policy was not measured on problem 'p0'"):
        build_method("adaptthink").sample(make_requests(), FakePolicy().policy)


def test_openings_that_cannot_be():
    method = measured(build_method("adaptthink", {"ratio": "token", "think_opening": "</think> So"}))
    with pytest.raises(ConfigError, match=r"^think_opening: it and '</think>' begin with the same tokens"):
        method.sample(make_requests(), FakePolicy().policy)
    method = measured(build_method("adaptthink", {"ratio": "token", "think_opening": "Wait, Wait, Wait,"}))
    with pytest.raises(ConfigError, match=r"^think_opening: it takes \d of 3 response tokens and leaves none"):
        method.sample(make_requests(limit=3), FakePolicy().policy)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("delta", -0.1),
        ("ratio", "sequence"),
        ("clip", -1),
        ("reference_samples", 0),
        ("think_opening", None),
        ("reference_rollouts", 3),
    ],
)
def test_values_out_of_range(field, value):
    with pytest.raises(ConfigError, match=f"^{field}: {value!r} is not allowed"):
        build_method("adaptthink", {field: value})
