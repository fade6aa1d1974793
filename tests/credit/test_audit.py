from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from attnpo.credit import METHODS, build_method, token_advantages
from attnpo.credit.audit import KindAudit, audit_credit, audit_sums, audit_totals, step_mean_advantages
from attnpo.credit.batches import ESSENTIAL, REDUNDANT, UNDECIDED
from attnpo.rollouts import Rollout, Step

E, R, U = ESSENTIAL, REDUNDANT, UNDECIDED

# Row 0 (right): e 2 tokens punished, r 1 rewarded, r 3 untouched, answer. Row 1 (wrong): r 2 mixed (mean -0.25),
# u, e without a token, e 1 untouched.
STEP_INDEX = torch.tensor([[0, 0, 1, 2, 2, 2, -1], [0, 0, 1, 3, -1, -1, -1]])
ADVANTAGES = torch.tensor([[-1.0, -2.0, 0.5, 0.0, 0.0, 0.0, 9.0], [-1.0, 0.5, 3.0, 0.0, -7.0, -7.0, -7.0]])
LABELS = torch.tensor([[E, R, R, U], [R, U, E, E]])
CORRECT = torch.tensor([True, False])


def test_worked_example():
    audits = audit_credit(ADVANTAGES, STEP_INDEX, LABELS)
    essential, redundant = audits["essential"], audits["redundant"]
    assert essential.steps.tolist() == [1, 1]
    assert essential.punished.tolist() == [1, 0]
    assert essential.rewarded.tolist() == [0, 0]
    assert essential.advantage.tolist() == [-1.5, 0]
    assert (essential.tokens.tolist(), essential.token_punished.tolist()) == ([2, 1], [2, 0])
    assert essential.token_advantage.tolist() == [-3, 0]
    assert redundant.steps.tolist() == [2, 1]
    assert redundant.punished.tolist() == [0, 1]
    assert redundant.rewarded.tolist() == [1, 0]
    assert redundant.advantage.tolist() == [0.5, -0.25]
    assert (redundant.tokens.tolist(), redundant.token_punished.tolist()) == ([4, 2], [0, 2])
    assert redundant.token_rewarded.tolist() == [1, 0]


def test_sums_are_told_apart_by_verdict():
    sums = {
        name: value.item() for name, value in audit_sums(audit_credit(ADVANTAGES, STEP_INDEX, LABELS), CORRECT).items()
    }
    assert sums["essential_punished"] == sums["correct/essential_punished"] == 1
    assert sums["incorrect/essential_punished"] == 0
    assert sums["redundant_punished"] == sums["incorrect/redundant_punished"] == 1
    assert sums["redundant_advantage"] == 0.25
    assert (sums["correct/redundant_advantage"], sums["incorrect/redundant_advantage"]) == (0.5, -0.25)
    assert len(sums) == 18


def rollout(labels, lengths, correct):
    ends = [sum(lengths[: i + 1]) for i in range(len(lengths))]
    names = {E: "essential", R: "redundant", U: "undecided"}
    steps = tuple(
        Step((0, 1), (end - n, end), label=names[code]) for end, n, code in zip(ends, lengths, labels, strict=True)
    )
    return Rollout("p", "q", "1", 0, (), "", True, correct=correct, steps=steps)


def test_totals_count_the_same_steps_under_the_same_names():
    rollouts = [rollout([E, R, R], [2, 1, 3], True), rollout([R, U, E, E], [2, 1, 0, 1], False)]
    totals, audits = audit_totals(rollouts), audit_credit(ADVANTAGES, STEP_INDEX, LABELS)
    assert totals.keys() == audit_sums(audits, CORRECT).keys()
    assert totals["essential_punished"] == audits["essential"].steps.sum() == 2
    assert totals["incorrect/redundant_rewarded"] == 1
    assert totals["correct/redundant_advantage"] == 2
    assert set(audit_totals([]).values()) == {0}


def test_marked_steps_are_a_kind_of_their_own():
    useful = torch.zeros_like(LABELS, dtype=torch.bool)
    useful[1, 1] = True
    found = audit_credit(ADVANTAGES, STEP_INDEX, LABELS, {"useful": useful})["useful"]
    assert (found.steps.tolist(), found.rewarded.tolist(), found.advantage.tolist()) == ([0, 1], [0, 1], [0, 3])


def test_parts_join():
    whole = audit_credit(ADVANTAGES, STEP_INDEX, LABELS)["redundant"]
    parts = [audit_credit(ADVANTAGES[i : i + 1], STEP_INDEX[i : i + 1], LABELS[i : i + 1])["redundant"] for i in (0, 1)]
    joined = KindAudit.concatenate(parts)
    assert all(torch.equal(getattr(joined, name), getattr(whole, name)) for name in vars(whole))


@given(st.data())
def test_against_a_slow_count(data):
    rows, width, steps = 3, 9, 4
    index = [
        sorted(data.draw(st.lists(st.integers(-1, steps - 1), min_size=width, max_size=width))) for _ in range(rows)
    ]
    values = [
        data.draw(st.lists(st.sampled_from([-1.0, -0.25, 0.0, 0.5]), min_size=width, max_size=width)) for _ in index
    ]
    labels = [data.draw(st.lists(st.sampled_from([E, R, U]), min_size=steps, max_size=steps)) for _ in index]
    found = audit_credit(torch.tensor(values), torch.tensor(index), torch.tensor(labels))
    for row in range(rows):
        for kind, code in (("essential", E), ("redundant", R)):
            mine = [[v for v, k in zip(values[row], index[row], strict=True) if k == step] for step in range(steps)]
            mine = [m for step, m in enumerate(mine) if m and labels[row][step] == code]
            means = [sum(m) / len(m) for m in mine]
            audit = found[kind]
            assert audit.steps[row] == len(mine)
            assert audit.punished[row] == sum(m < 0 for m in means)
            assert audit.rewarded[row] == sum(m > 0 for m in means)
            assert audit.advantage[row].item() == pytest.approx(sum(means), abs=1e-5)
            assert audit.tokens[row] == sum(map(len, mine))
            assert audit.token_rewarded[row] == sum(len(m) for m in mine if sum(m) > 0)
            assert audit.token_advantage[row].item() == pytest.approx(sum(map(sum, mine)), abs=1e-5)


@given(st.floats(-2, 2, width=32, allow_subnormal=False), st.lists(st.integers(1, 9), min_size=1, max_size=6))
def test_tokens_of_one_advantage_give_exactly_that_mean(advantage, lengths):
    index = [step for step, n in enumerate(lengths) for _ in range(n)]
    mean_BK, tokens_BK = step_mean_advantages(
        torch.full((1, len(index)), advantage), torch.tensor([index]), len(lengths)
    )
    assert set(mean_BK[0].tolist()) == {torch.tensor(advantage).item()}
    assert tokens_BK[0].tolist() == lengths


def test_no_steps_at_all():
    mean_BK, tokens_BK = step_mean_advantages(torch.ones(2, 3), torch.full((2, 3), -1), 0)
    assert mean_BK.shape == tokens_BK.shape == (2, 0)
    assert audit_credit(torch.ones(2, 3), torch.full((2, 3), -1), torch.zeros(2, 0))["essential"].steps.tolist() == [
        0,
        0,
    ]


@pytest.mark.parametrize("name", ["oracle", "oracle_reversed", "tlmre"])
def test_what_the_bounds_do(make_steps, name):
    # The oracle rewards no redundant step of a solved prompt and punishes no essential one; reversed, the opposite.
    steps = make_steps(
        [[0.1, 0.1, 0.1]] * 2,
        labels=[[E, R, U]] * 2,
        advantage=[1.0, -1.0],
        pass_rate=1.0,
        step_lengths=[[2, 2, 2]] * 2,
    )
    method = build_method(name)
    step_index = torch.tensor([[0, 0, 1, 1, 2, 2, -1]] * 2)
    sums = audit_sums(
        audit_credit(method.spread(steps, method.gamma(steps), step_index), step_index, steps.labels_BK),
        steps.correct_B,
    )
    found = {
        key: sums[key].item()
        for key in ("essential_punished", "essential_rewarded", "redundant_punished", "redundant_rewarded")
    }
    assert (
        list(found.values()) == {"oracle": [0, 1, 1, 0], "oracle_reversed": [1, 0, 0, 1], "tlmre": [1, 1, 1, 1]}[name]
    )
    assert name in METHODS


@given(st.lists(st.floats(-2, 2, width=16), min_size=1, max_size=6))
def test_uniform_credit_treats_all_steps_alike(advantages):
    size = len(advantages)
    spread = token_advantages(torch.tensor(advantages), torch.ones(size, 2), torch.tensor([[0, 1, 1, -1]] * size))
    audits = audit_credit(spread, torch.tensor([[0, 1, 1, -1]] * size), torch.tensor([[E, R]] * size))
    assert torch.equal(audits["essential"].punished, audits["redundant"].punished)
    assert torch.equal(audits["essential"].advantage, torch.tensor(advantages).float())
