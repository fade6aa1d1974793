from __future__ import annotations

import json

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from attnpo.credit import build_method
from attnpo.credit.layout import outcome, outcome_advantages
from attnpo.credit.methods.gr3 import keeps_typical
from attnpo.errors import ConfigError

GROUP = [(True, 10), (True, 30), (False, 10), (False, 30)]
PUBLIC_CODE = {"alpha": 0.33, "scale_advantages": False}
STRICT = [(True, 1), (True, 1), (True, 1), (False, 97)]
"""Lengths over their mean are 0.04 three times: 1 / (1 + alpha) >= 3 / 4 / (1 + 0.04 alpha) up to alpha = 25 / 71."""
responses = st.lists(st.tuples(st.booleans(), st.integers(1, 60)), min_size=2, max_size=6)


def alpha_after(groups, **settings) -> float:
    method = build_method("gr3", settings)
    method.observe(groups)
    return method.metrics()["length_alpha"]


def test_worked_example(make_groups):
    # mean length 20: factors 1 / (1 + 0.33 * 1/2), 1 / (1 + 0.33 * 3/2)
    groups = make_groups(GROUP)
    rewards = [1 / 1.165, 1 / 1.495, 0, 0]
    paper, code = build_method("gr3", {"alpha": 0.33}), build_method("gr3", PUBLIC_CODE)
    for method in (paper, code):
        assert method.rewards(groups)[0].tolist() == pytest.approx(rewards)
    centred = [reward - sum(rewards) / 4 for reward in rewards]
    assert outcome_advantages(code, code.rewards(groups), groups)[0].tolist() == pytest.approx(centred)
    deviation = (sum(value**2 for value in centred) / 3) ** 0.5 + 1e-4
    expected = [value / deviation for value in centred]
    assert outcome_advantages(paper, paper.rewards(groups), groups)[0].tolist() == pytest.approx(expected)


def test_alpha_zero_is_the_outcome(make_groups):
    groups = make_groups([(True, 10), (True, 30), (False, 10)])
    assert build_method("gr3", {"alpha": 0}).rewards(groups)[0].tolist() == [1, 1, 0]


def test_the_condition_by_hand(make_groups):
    groups = make_groups([STRICT, GROUP])
    bound = 25 / 71
    # GROUP: 1 / (1 + a) >= (1 / (1 + a / 2) + 1 / (1 + 3 a / 2)) / 4 comes to 2 + 4 a + a a >= 0, whatever a.
    assert keeps_typical(groups, [bound - 1e-6, bound + 1e-6, 1e6]).tolist() == [
        [True, False, False],
        [True, True, True],
    ]


def test_calibration(make_groups):
    solved, hopeless = [(True, 10), (True, 50), (True, 9), (True, 9)], [(False, 5)] * 4
    assert alpha_after(make_groups([STRICT], t=8)) == 0.33  # the largest candidate below 25 / 71
    assert alpha_after(make_groups([STRICT, GROUP], t=8)) == 0.33
    assert alpha_after(make_groups([GROUP], t=8)) == 1.5
    assert alpha_after(make_groups([STRICT, solved, hopeless], t=8)) == 0.33  # groups of one verdict do not count
    assert alpha_after(make_groups([STRICT, GROUP], t=8), satisfied=0.5) == 1.5
    assert alpha_after(make_groups([STRICT], t=8), candidates=[0.5, 2]) == 0.5  # none holds: the least
    assert alpha_after(make_groups([solved, hopeless], t=8)) == 0


def test_calibration_watches_the_first_steps_and_then_alpha_stays(make_groups):
    method = build_method("gr3", {"calibration_steps": 2})
    alphas, rewards = [], []
    for step, group in enumerate([GROUP, STRICT, GROUP, STRICT]):
        rewards.append(outcome(method, make_groups(group, t=step))[0][0].tolist())
        alphas.append(method.metrics()["length_alpha"])
    assert alphas == [0, 0, 0.33, 0.33]
    assert rewards[0] == [1, 1, 0, 0]
    assert rewards[2] == pytest.approx([1 / 1.165, 1 / 1.495, 0, 0])


def test_calibration_goes_on_until_a_group_counts(make_groups):
    method = build_method("gr3", {"calibration_steps": 1})
    for step, (group, alpha) in enumerate([([(True, 3)] * 2, 0), ([(False, 3)] * 2, 0), (STRICT, 0.33)]):
        method.observe(make_groups(group, t=step))
        assert method.metrics() == {"length_alpha": alpha}


@pytest.mark.parametrize("seen", [1, 2])
def test_a_resumed_run_goes_on(make_groups, seen):
    whole, first, second = (build_method("gr3", {"calibration_steps": 1}) for _ in range(3))
    batches = [make_groups(group, t=step) for step, group in enumerate([STRICT, GROUP, GROUP])]
    for batch in batches:
        whole.observe(batch)
    for batch in batches[:seen]:
        first.observe(batch)
    second.load_state_dict(json.loads(json.dumps(first.state_dict())))
    for batch in batches[seen:]:
        second.observe(batch)
    assert second.state_dict() == whole.state_dict()
    with pytest.raises(ConfigError, match=r"^method gr3: the checkpoint counted for other values of alpha"):
        build_method("gr3", {"candidates": [0.1]}).load_state_dict(first.state_dict())


def test_groups_without_a_wrong_response_get_no_credit(make_groups):
    groups = make_groups([[(True, 10), (True, 30)], [(True, 10), (False, 30)]])
    for drops in (True, False):
        method = build_method("gr3", {"alpha": 0.33, "drop_solved": drops})
        solved, mixed = outcome_advantages(method, method.rewards(groups), groups)
        assert bool((solved == 0).all()) is drops
        assert (mixed != 0).all()


def test_only_calibration_learns_from_groups():
    assert build_method("gr3").learns_from_groups
    assert not build_method("gr3", PUBLIC_CODE).learns_from_groups


@pytest.mark.parametrize(
    ("name", "value"),
    [("alpha", -1), ("candidates", []), ("candidates", [0.0]), ("satisfied", 1.5), ("calibration_steps", 0)],
)
def test_a_value_out_of_range_is_named(name, value):
    with pytest.raises(ConfigError, match=f"^{name}"):
        build_method("gr3", {name: value})


@given(responses, st.floats(0, 5), st.integers(1, 50))
def test_the_unit_of_length_does_not_matter_and_shorter_is_never_worse(make_groups, group, alpha, unit):
    gr3 = build_method("gr3", {"alpha": alpha})
    got = gr3.rewards(make_groups(group))[0].tolist()
    scaled = gr3.rewards(make_groups([(right, unit * length) for right, length in group]))[0].tolist()
    assert got == pytest.approx(scaled, rel=1e-5)
    for (right, length), reward in zip(group, got, strict=True):
        assert (reward > 0) == right
        assert reward <= 1
        assert all(reward >= other for (ok, n), other in zip(group, got, strict=True) if right and ok and n >= length)


@given(st.lists(responses, min_size=1, max_size=4), st.lists(st.floats(1e-3, 20), min_size=2, max_size=5))
def test_what_holds_with_one_alpha_holds_with_every_smaller_one(make_groups, rows, strengths):
    size = min(map(len, rows))
    groups = make_groups([[(True, row[0][1]), *row[1:size]] for row in rows])
    held = keeps_typical(groups, sorted(strengths))
    assert (held[:, :-1] >= held[:, 1:]).all()
    solved = groups.correct_PG.bool().all(dim=1) & (groups.lengths_PG != groups.lengths_PG[:, :1]).any(dim=1)
    assert not keeps_typical(groups, [1.0])[solved].any()  # Jensen: what is all right cannot hold


@given(st.lists(responses, min_size=1, max_size=4))
def test_the_chosen_alpha_keeps_a_typical_right_response_above_the_mean(make_groups, rows):
    groups = make_groups([[(True, row[0][1]), (False, row[1][1])] for row in rows], t=8)
    method = build_method("gr3", {"satisfied": 1.0})
    method.observe(groups)
    assert method.alpha in method.settings.candidates
    mean_P = method.rewards(groups).mean(dim=1)
    if keeps_typical(groups, [0.033]).all():
        assert torch.all(1 / (1 + method.alpha) >= mean_P - 1e-6)
