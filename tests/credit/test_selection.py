from __future__ import annotations

import statistics

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from attnpo.credit import GroupBatch, build_method
from attnpo.credit.selection import advantages_among, moments, part, smallest


def test_a_part_of_a_group_is_a_group(make_groups):
    groups = make_groups([[(True, 5), (False, 6), (True, 7)], [(False, 1), (True, 2), (False, 3)]], target=9, limit=50)
    got = part(groups, 1, torch.tensor([0, 2]))
    assert got.lengths_PG.tolist() == [[1, 3]]
    assert got.correct_PG.tolist() == [[False, False]]
    assert got.group_ids_P.tolist() == [1]
    assert got.facts["target_length"].tolist() == [[9, 9]]
    assert got.max_length == 50
    assert part(GroupBatch(*[groups.correct_PG] * 3), 0, torch.tensor([1])).answered_PG is None


pairs = st.lists(st.tuples(st.integers(1, 4), st.integers(1, 3)), min_size=2, max_size=8)


@given(pairs, st.integers(1, 10))
def test_the_smallest_with_those_that_equal_the_last_in_both(rows, count):
    values, then = (torch.tensor([list(column)]) for column in zip(*rows, strict=True))
    got = smallest(values, torch.tensor([count]), then)[0].tolist()
    border = sorted(rows)[min(count, len(rows)) - 1]
    assert got == [row <= border for row in rows]
    assert sum(got) >= min(count, len(rows))


@given(st.lists(st.tuples(st.integers(1, 99), st.booleans()), min_size=1, max_size=7))
def test_moments_are_those_of_the_population(rows):
    values, among = zip(*rows, strict=True)
    mean, variance = moments(torch.tensor([values]), torch.tensor([among]))
    chosen = [value for value, ok in rows if ok] or [0]
    assert float(mean) == pytest.approx(statistics.fmean(chosen))
    assert float(variance) == pytest.approx(statistics.pvariance(chosen), abs=1e-9)


@given(st.lists(st.tuples(st.booleans(), st.integers(1, 9), st.booleans()), min_size=2, max_size=6))
def test_advantages_among_the_kept_are_those_of_a_group_of_them(responses):
    correct, lengths, kept = (torch.tensor([list(column)]) for column in zip(*responses, strict=True))
    groups = GroupBatch(correct, lengths, torch.ones_like(correct))
    method = build_method("tlmre")
    got = advantages_among(method, method.rewards(groups), groups, kept)
    alone = [r for r in responses if r[2]]
    expected = torch.zeros(1, len(responses))
    if alone:
        own = method.rewards(groups)[:, kept[0]]
        expected[kept] = method.advantages(own)[0]
    torch.testing.assert_close(got, expected)
