"""Costs still to come, by hand and against plain loops."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from attnpo.gradients.credits import advantages_to_go


def test_lengths_by_hand():
    # The third has 2 tokens to come at token 2, the second 1 and the first none; at token 3 it is alone.
    inside = torch.tensor([[[1.0, 1, 0, 0], [1, 1, 1, 0], [1, 1, 1, 1]]])
    found = (advantages_to_go(inside) * inside).tolist()
    assert found == [[[1.5, 1.5, 0, 0], [0, 0, 0, 0], [-1.5, -1.5, -1.5, -1]]]


def test_costly_tokens_by_hand():
    # 2, 1, 1 to come of the first; 1, 1 of the second, which has nothing to say of the last token.
    costs = torch.tensor([[[1.0, 0.0, 1.0], [0.0, 1.0, 0.0]]])
    assert advantages_to_go(costs).tolist() == [[[-1, 0, -1], [1, 0, 1]]]


def test_a_group_of_one_has_none():
    assert not advantages_to_go(torch.ones(2, 1, 3)).any()


@given(st.data(), st.integers(1, 3), st.integers(2, 4), st.integers(1, 5))
def test_plain_loops(data, groups, size, width):
    values = data.draw(st.lists(st.sampled_from([0.0, 0.25, 1.0]), min_size=groups * size * width, max_size=60))
    costs = torch.tensor(values[: groups * size * width], dtype=torch.float64).view(groups, size, width)
    found = advantages_to_go(costs)
    for p in range(groups):
        for i in range(size):
            for t in range(width):
                others = [sum(costs[p, j, t:].tolist()) for j in range(size) if j != i]
                expected = sum(others) / len(others) - sum(costs[p, i, t:].tolist())
                assert float(found[p, i, t]) == pytest.approx(expected, abs=1e-9)
