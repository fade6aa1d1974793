from __future__ import annotations

import torch
from hypothesis import given
from hypothesis import strategies as st

from attnpo.credit import GroupBatch, build_method
from attnpo.credit.selection import advantages_among, part, smallest


def test_a_part_of_a_group_is_a_group(make_groups):
    groups = make_groups([[(True, 5), (False, 6), (True, 7)], [(False, 1), (True, 2), (False, 3)]], target=9, limit=50)
    got = part(groups, 1, torch.tensor([0, 2]))
    assert got.lengths_PG.tolist() == [[1, 3]]
    assert got.correct_PG.tolist() == [[False, False]]
    assert got.group_ids_P.tolist() == [1]
    assert got.facts["target_length"].tolist() == [[9, 9]]
    assert got.max_length == 50
    assert part(GroupBatch(*[groups.correct_PG] * 3), 0, torch.tensor([1])).answered_PG is None


@given(st.lists(st.integers(1, 5), min_size=2, max_size=8), st.integers(1, 10))
def test_the_smallest_with_their_equals(values, count):
    got = smallest(torch.tensor([values]), torch.tensor([count]))[0].tolist()
    border = sorted(values)[min(count, len(values)) - 1]
    assert got == [value <= border for value in values]
    assert sum(got) >= min(count, len(values))


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
