from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from attnpo.credit import build_method
from attnpo.credit.layout import outcome_advantages

responses = st.lists(st.tuples(st.booleans(), st.integers(1, 60)), min_size=2, max_size=6)


def test_worked_example(make_groups):
    # mean length 20: factors 1 / (1 + 0.33 * 1/2), 1 / (1 + 0.33 * 3/2)
    groups = make_groups([(True, 10), (True, 30), (False, 10), (False, 30)])
    got = build_method("gr3").rewards(groups)[0].tolist()
    assert got == pytest.approx([1 / 1.165, 1 / 1.495, 0, 0])


def test_the_advantage_is_undivided(make_groups):
    groups = make_groups([(True, 10), (True, 30), (False, 10), (False, 30)])
    rewards = [1 / 1.165, 1 / 1.495, 0, 0]
    got = outcome_advantages(build_method("gr3"), build_method("gr3").rewards(groups), groups)[0].tolist()
    assert got == pytest.approx([reward - sum(rewards) / 4 for reward in rewards])


def test_alpha_zero_is_the_outcome(make_groups):
    groups = make_groups([(True, 10), (True, 30), (False, 10)])
    assert build_method("gr3", {"alpha": 0}).rewards(groups)[0].tolist() == [1, 1, 0]


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
