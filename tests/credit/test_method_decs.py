from __future__ import annotations

import json
import math
from dataclasses import replace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from small_policy import policy_of, rollout_of
from transformers import AutoTokenizer

from attnpo.credit import GroupBatch, Sampled, build_method
from attnpo.credit.methods.decs import NECESSARY
from attnpo.credit.methods.with_detector import REDUNDANT_FROM, REDUNDANT_TO
from attnpo.errors import DataError
from attnpo.tinyworld import checkpoint_path

QUESTION = "Suppose Gus has 8 shells. Kim has 5 more than Gus. How many shells does Kim have?"
LIMIT = 20


def group_of(responses, ids=None, t=0):
    """Groups of (correct, length, start, end of the redundant part)."""
    rows = responses if isinstance(responses[0], list) else [responses]
    correct, lengths, start, stop = (torch.tensor([[each[i] for each in row] for row in rows]) for i in range(4))
    facts = {REDUNDANT_FROM: start.float(), REDUNDANT_TO: stop.float(), NECESSARY: torch.zeros(correct.shape)}
    ids = torch.arange(len(rows)) if ids is None else torch.tensor(ids)
    return GroupBatch(correct.bool(), lengths, torch.ones_like(correct).bool(), t, LIMIT, group_ids_P=ids, facts=facts)


def spread(decs, groups, make_steps, width=LIMIT):
    """What every response of the groups gets at each place, in groups' order."""
    rewards = decs.rewards(groups)
    facts = {name: fact.flatten(0, 1) for name, fact in decs.group_facts(rewards, groups).items()}
    assert all(fact.dtype == torch.float32 for fact in facts.values())
    size = groups.correct_PG.numel()
    steps = replace(make_steps([[1.0]] * size), facts=facts)
    return decs.spread(steps, decs.gamma(steps), torch.full((size, width), -1))


def brute_force(responses, width=LIMIT):
    """The definition, place by place, in float64."""
    rewards = [
        [0.0 if not correct else 1 + 0.1 * (1 - length / LIMIT) if start <= t < stop else 1.1 for t in range(width)]
        for correct, length, start, stop in responses
    ]
    advantages = []
    for own in rewards:
        row = []
        for t in range(width):
            column = [each[t] for each in rewards]
            mean = sum(column) / len(column)
            std = math.sqrt(sum((value - mean) ** 2 for value in column) / (len(column) - 1))
            row.append((own[t] - mean) / (std + 1e-6) if max(column) > min(column) else 0.0)
        advantages.append(row)
    return torch.tensor(advantages)


def test_worked_example(make_steps):
    # rewards at place 0: 1.1, 1.1, 0; at place 2: 1.1, 1 + 0.1 (1 - 10/20) = 1.05, 0
    responses = [(1, 5, 0, 0), (1, 10, 2, 4), (0, 20, 0, 0)]
    got = spread(build_method("decs", {"curriculum": False}), group_of(responses), make_steps)
    first, second = 1.1 / 3 / math.sqrt(1.21 / 3), [1.1, 1.05, 0.0]
    assert got[:, 0].tolist() == pytest.approx([first, first, -2 * first], abs=1e-5)
    mean = sum(second) / 3
    std = math.sqrt(sum((value - mean) ** 2 for value in second) / 2)
    assert got[:, 2].tolist() == pytest.approx([(value - mean) / std for value in second], abs=1e-5)
    assert torch.equal(got[:, 0], got[:, 4])  # behind the redundant part the reward is 1.1 again


def test_always_solved_only_the_redundant_tokens_are_punished(make_steps):
    responses = [(1, 10, 3, 6), (1, 10, 0, 0), (1, 10, 0, 0)]
    got = spread(build_method("decs", {"curriculum": False}), group_of(responses), make_steps)
    assert got[:, [0, 1, 2, 6, 7]].eq(0).all()
    assert got[0, 3:6].tolist() == pytest.approx([-2 / math.sqrt(3)] * 3, abs=1e-3)
    assert (got[1:, 3:6] > 0).all()


@st.composite
def groups_of_responses(draw):
    size = draw(st.integers(2, 5))
    responses = []
    for _ in range(size):
        length = draw(st.integers(1, LIMIT))
        start, stop = sorted(draw(st.tuples(st.integers(0, length), st.integers(0, length))))
        correct = draw(st.booleans())
        responses.append((int(correct), length, start, stop) if correct else (0, length, 0, 0))
    return responses


@given(groups_of_responses())
def test_against_the_definition(make_steps, responses):
    got = spread(build_method("decs", {"curriculum": False}), group_of(responses), make_steps)
    torch.testing.assert_close(got, brute_force(responses).float(), atol=1e-5, rtol=1e-5)


def shares(groups, values):
    return replace(groups, facts={**groups.facts, NECESSARY: torch.tensor(values)})


def test_kappa_follows_the_necessary_share():
    decs, mixed = build_method("decs"), [(1, 5, 0, 0), (0, 5, 0, 0)]
    decs.observe(shares(group_of(mixed), [[0.9, 0.0]]))
    assert decs.state.kappa == pytest.approx(0.2 * (0.9 - 0.5))
    decs.observe(shares(group_of(mixed, t=1), [[0.0, 0.0]]))  # nothing found: kappa stays
    decs.observe(shares(group_of([mixed, mixed], t=2), [[0.6, 0.0], [0.8, 0.0]]))
    assert decs.state.kappa == pytest.approx(0.2 * (0.7 - 0.5))
    assert decs.metrics() == {"kappa": pytest.approx(0.04), "necessary_share": pytest.approx(0.7)}


def test_solved_prompts_are_admitted_by_kappa(make_steps):
    mixed, solved = [(1, 5, 0, 0), (0, 5, 0, 0)], [(1, 5, 2, 4), (1, 5, 0, 0)]
    decs = build_method("decs", {"kappa_rate": 1.0})
    first = group_of([mixed, solved])
    decs.observe(shares(first, [[0.9, 0.0], [0.9, 0.9]]))
    assert decs.state.admitted == ()  # kappa was 0
    assert spread(decs, first, make_steps)[2:].eq(0).all()
    assert spread(decs, first, make_steps)[:2].ne(0).any()
    # kappa = 0.4: floor(0.4 * 1 / 0.6) = 0 of one mixed prompt, but floor(0.4 * 2 / 0.6) = 1 of two
    for step, admitted in ((1, 0), (2, 1), (3, 0)):
        groups = group_of([mixed, solved, solved], ids=[10 * step, 10 * step + 1, 10 * step + 2], t=step)
        decs.observe(shares(groups, [[0.9, 0.0], [0.9, 0.9], [0.9, 0.9]]))
        assert len(decs.state.admitted) == admitted
        got = spread(decs, groups, make_steps).reshape(3, 2, -1)
        live = [10 * step + g for g in (1, 2) if got[g].ne(0).any()]
        assert live == list(decs.state.admitted)


def test_a_share_that_was_due_lapses_where_no_prompt_is_always_solved():
    # The official code counts the prompts anew before it looks at how many are there.
    mixed, solved = [(1, 5, 0, 0), (0, 5, 0, 0)], [(1, 5, 2, 4), (1, 5, 0, 0)]
    decs = build_method("decs", {"kappa_rate": 1.0})
    decs.observe(shares(group_of([mixed]), [[0.9, 0.0]]))  # kappa becomes 0.4
    decs.observe(shares(group_of([mixed, mixed], t=1), [[0.9, 0.0], [0.9, 0.0]]))
    assert (decs.state.mixed, decs.state.admitted) == (0, ())
    decs.observe(shares(group_of([mixed, solved], t=2), [[0.9, 0.0], [0.9, 0.9]]))
    assert (decs.state.mixed, decs.state.admitted) == (1, ())


def test_the_draw_depends_on_seed_step_and_groups_alone():
    def admitted(seed, step, order):
        decs = build_method("decs", {"seed": seed, "kappa_rate": 1.0})
        decs.observe(shares(group_of([(1, 5, 0, 0), (0, 5, 0, 0)]), [[1.0, 0.0]]))
        rows = [[(1, 5, 0, 0), (0, 5, 0, 0)]] * 3 + [[(1, 5, 0, 0)] * 2] * 9
        groups = group_of([rows[i] for i in order], ids=[100 + i for i in order], t=step)
        decs.observe(groups)
        return decs.state.admitted

    order = list(range(12))
    assert len(admitted(0, 1, order)) == 3
    assert admitted(0, 1, order) == admitted(0, 1, order[::-1])
    assert len({admitted(seed, step, order) for seed in range(3) for step in range(1, 4)}) > 3


def test_state_outlives_a_checkpoint():
    decs = build_method("decs", {"kappa_rate": 1.0})
    decs.observe(shares(group_of([(1, 5, 0, 0), (0, 5, 0, 0)]), [[0.75, 0.0]]))
    other = build_method("decs", {"kappa_rate": 1.0})
    other.load_state_dict(json.loads(json.dumps(decs.state_dict())))
    assert other.state == decs.state


def test_probing():
    tokenizer = AutoTokenizer.from_pretrained(checkpoint_path())
    first = "Hmm, Kim has 8+5=13. Yes, right.\n\n"
    text = first + "Let me verify. 13-5=8.\n\nWait.\n\nKim has 13.\n</think>\n\nThe answer is \\boxed{13}."
    right = rollout_of(tokenizer, QUESTION, "13", text)
    close = right.response_ids.index(tokenizer.convert_tokens_to_ids("</think>"))
    for unit, until in (("step", first), ("sentence", "Hmm, Kim has 8+5=13.")):
        decs = build_method("decs", {"unit": unit})
        probed = decs.probe(Sampled([right, replace(right, correct=False)], [()] * 2), policy_of(tokenizer))
        start = len(tokenizer(until, add_special_tokens=False)["input_ids"])
        assert probed.facts == {REDUNDANT_FROM: [start, 0], REDUNDANT_TO: [close, 0], NECESSARY: [0.25, 0]}


def test_what_is_missing_is_named(make_groups):
    decs, plain = build_method("decs"), make_groups([(True, 5), (False, 5)], limit=LIMIT)
    with pytest.raises(DataError, match=r"^method decs: needs necessary shares"):
        decs.observe(plain)
    with pytest.raises(DataError, match=r"^method decs: needs redundant parts"):
        decs.group_facts(decs.rewards(plain), plain)
