from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from attnpo.credit.agreement import credit_moments, credit_ranking
from attnpo.credit.batches import ESSENTIAL, REDUNDANT, UNDECIDED

E, R, U = ESSENTIAL, REDUNDANT, UNDECIDED


def test_ranking_by_hand():
    credit = torch.tensor([[1.0, 0.5, 1.0, 9.0], [0.0, 1.0, 2.0, 0.0]])
    labels = torch.tensor([[E, R, R, U], [E, R, E, R]])
    owned = torch.tensor([[True] * 4, [True, True, True, False]])
    found = credit_ranking(credit, labels, owned)
    assert found.pairs.tolist() == [2, 2]
    assert found.right.tolist() == [1, 1]
    assert found.wrong.tolist() == [0, 1]


@given(st.lists(st.tuples(st.sampled_from([0.0, 0.5, 1.0]), st.sampled_from([E, R, U]), st.booleans()), max_size=7))
def test_ranking_by_brute_force(steps):
    credit, labels, owned = (torch.tensor([[step[i] for step in steps]]) for i in range(3))
    found = credit_ranking(credit, labels, owned.bool())
    pairs = [(a, b) for a, x, i in steps for b, y, j in steps if i and j and x == E and y == R]
    assert found.pairs.item() == len(pairs)
    assert found.right.item() == sum(a > b for a, b in pairs)
    assert found.wrong.item() == sum(a < b for a, b in pairs)


def test_moments_give_the_correlation_of_numpy():
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(2, 6, 4))
    mask = rng.random((6, 4)) < 0.8
    moments = credit_moments(torch.tensor(x), torch.tensor(y), torch.tensor(mask))
    interval = moments.interval([f"p{i // 2}" for i in range(6)], n_resamples=50)
    assert interval.value == pytest.approx(np.corrcoef(x[mask], y[mask])[0, 1])
    assert interval.low <= interval.high


def test_within_a_response_its_own_level_plays_no_part():
    x = torch.tensor([[1.0, 2.0], [11.0, 12.0], [5.0, 5.0]])
    y = torch.tensor([[-4.0, -2.0], [0.0, 2.0], [1.0, 1.0]])
    mask = torch.ones(3, 2, dtype=torch.bool)
    assert credit_moments(x, y, mask, within=True).interval(["a", "b", "c"], n_resamples=20).value == pytest.approx(1)
    assert credit_moments(x, y, mask).interval(["a", "b", "c"], n_resamples=20).value < 0.9


def test_credit_that_does_not_vary_has_no_correlation():
    mask, y = torch.ones(2, 3, dtype=torch.bool), torch.tensor([[0.0, 1.0, 2.0]] * 2)
    flat = torch.tensor([[0.1] * 3, [0.7] * 3])
    assert credit_moments(flat, y, mask, within=True).interval(["a", "b"], n_resamples=10) is None
    assert credit_moments(torch.full((2, 3), 0.1), y, mask).interval(["a", "b"], n_resamples=10) is None
