from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from attnpo.credit import build_method


def test_worked_example(make_groups):
    # L* = 200: the shortest correct; the wrong one of 100 tokens is as far away as the correct one of 300
    groups = make_groups([(True, 200), (True, 300), (False, 100), (False, 900)])
    got = build_method("shorterbetter").rewards(groups)[0].tolist()
    assert got == pytest.approx([2, 1.9, -0.1, -0.7])


def test_where_none_is_correct_it_is_the_mean(make_groups):
    got = build_method("shorterbetter").rewards(make_groups([(False, 100), (False, 300)]))[0].tolist()
    assert got == pytest.approx([-0.1, -0.1])


@given(st.lists(st.tuples(st.booleans(), st.integers(1, 60)), min_size=2, max_size=6), st.floats(0, 0.01))
def test_nothing_beats_the_shortest_correct_response(make_groups, group, price):
    got = build_method("shorterbetter", {"price": price}).rewards(make_groups(group))[0].tolist()
    right = [(length, reward) for (ok, length), reward in zip(group, got, strict=True) if ok]
    if right:
        assert min(right)[1] == pytest.approx(2) == max(got)
    assert all(reward <= 0 for (ok, _), reward in zip(group, got, strict=True) if not ok)
