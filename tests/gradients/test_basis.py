from __future__ import annotations

import numpy as np
from hypothesis import example, given, settings
from hypothesis import strategies as st

from attnpo.gradients.basis import independent_rows


@settings(deadline=None)
@given(st.integers(0, 4), st.integers(1, 9), st.integers(0, 1000))
@example(4, 8, 498)  # rows of lengths from 1e-4 to 1e3
def test_every_row_is_a_combination_of_as_few_as_there_are(rank, count, seed):
    rng = np.random.default_rng(seed)
    rows = rng.normal(size=(count, rank)) @ rng.normal(size=(rank, 12)) * 10.0 ** rng.integers(-4, 4, (count, 1))
    basis = independent_rows(rows)
    assert len(basis.chosen) == min(rank, count)
    made = basis.coefficients_MR @ rows[list(basis.chosen)]
    assert np.allclose(made, rows, rtol=0, atol=1e-11 * np.abs(rows).max(initial=1e-30))


def test_a_curve_that_is_linear_in_its_strength_takes_two_rows_and_zeros_none():
    verdict, term = np.array([1.0, -1.0, 0.5]), np.array([0.0, 2.0, -2.0])
    rows = np.stack([np.zeros(3), verdict, verdict + 0.2 * term, verdict + 0.6 * term])
    basis = independent_rows(rows)
    assert len(basis.chosen) == 2
    assert 0 not in basis.chosen
    assert not basis.coefficients_MR[0].any()


def test_nothing_but_zeros():
    assert independent_rows(np.zeros((2, 5))).coefficients_MR.shape == (2, 0)
