"""Tests of differences against tables, numerical integration, hand-worked examples and simulations of known truth."""

from __future__ import annotations

import math

import numpy as np
import pytest

from attnpo.significance import Estimate, estimate, estimate_difference, holm, t_above, t_quantile


@pytest.mark.parametrize("df", [1, 2, 3, 4, 7, 8, 30, 151])
@pytest.mark.parametrize("t", [0.0, 0.4, 1.7, 5.0])
def test_students_t_is_the_integral_of_its_density(df, t):
    xs = np.linspace(0, t, 20_001)
    scale = math.exp(math.lgamma((df + 1) / 2) - math.lgamma(df / 2)) / math.sqrt(df * math.pi)
    within = np.trapezoid(scale * (1 + xs**2 / df) ** (-(df + 1) / 2), xs)
    assert t_above(t, df) == pytest.approx(0.5 - within, abs=1e-8)
    assert t_above(-t, df) == pytest.approx(0.5 + within, abs=1e-8)


@pytest.mark.parametrize(
    ("df", "probability", "value"),
    [(1, 0.975, 12.7062), (4, 0.975, 2.776445), (8, 0.975, 2.306004), (8, 0.95, 1.859548), (100, 0.975, 1.983972)],
)
def test_quantiles_of_the_table(df, probability, value):
    assert t_quantile(probability, df) == pytest.approx(value, rel=1e-5)


def test_an_estimate_by_hand():
    # t = 2 with 10 degrees of freedom: two-sided p 0.07339; with margin 5, t = 3 and 7 below and above the bounds
    found = Estimate(2.0, 1.0, 10)
    assert found.p_differs() == pytest.approx(0.073388, abs=1e-6)
    assert found.p_equivalent(5.0) == pytest.approx(0.006672, abs=1e-6)
    assert Estimate(-2.0, 1.0, 10).p_equivalent(5.0) == found.p_equivalent(5.0)
    interval = found.interval(0.95)
    assert (interval.low, interval.high) == pytest.approx((2 - 2.228139, 2 + 2.228139), abs=1e-5)


@pytest.mark.parametrize(("value", "margin"), [(0.3, 1.0), (0.9, 1.0), (1.2, 1.0), (-0.7, 1.0)])
def test_equivalence_is_an_interval_within_the_margin(value, margin):
    found = Estimate(value, 0.2, 6)
    p = found.p_equivalent(margin)
    if p < 0.5:
        interval = found.interval(1 - 2 * p)
        assert max(-interval.low, interval.high) == pytest.approx(margin)
    assert (p < 0.5) == (abs(value) < margin)


def test_without_an_error_the_value_decides():
    assert Estimate(0.0, 0.0, 8).p_differs() == 1.0
    assert Estimate(0.1, 0.0, 8).p_differs() == 0.0
    assert Estimate(0.1, 0.0, 8).p_equivalent(0.2) == 0.0
    assert Estimate(0.3, 0.0, 8).p_equivalent(0.2) == 1.0


def test_the_errors_of_both_levels_add_up():
    rng = np.random.default_rng(0)
    draws = np.concatenate([[5.0], rng.normal(4.0, 2.0, 200_000), rng.normal(0.0, 1.5, 200_000)])
    found = estimate(draws, 8)
    assert found.value == 5.0
    assert found.error == pytest.approx(2.5, rel=0.01)
    # Welch and Satterthwaite: 8 x (6.25 / 2.25)^2 = 61.7
    assert found.df in (60, 61, 62)
    alone = estimate(np.concatenate([[5.0], np.full(1000, 5.0), draws[200_001:201_001]]), 8)
    assert alone.df == 8
    assert estimate(np.concatenate([[5.0], draws[1:1001], np.full(1000, 5.0)]), 8).df == 1000


@pytest.mark.parametrize(
    ("ours", "theirs", "our_df", "their_df", "df"),
    [
        (2.0, 2.0, 4, 4, 8.0),
        (2.0, 0.0, 4, 9, 4.0),
        (3.0, 1.0, 4, 2, 100 / (81 / 4 + 1 / 2)),
        (1.0, 3.0, 4, 2, 100 / (1 / 4 + 81 / 2)),
    ],
)
def test_runs_of_a_difference_that_vary_differently(ours, theirs, our_df, their_df, df):
    rng, many = np.random.default_rng(3), 400_000
    sides = [np.concatenate([np.zeros(1 + many), rng.normal(0, sd, many)]) for sd in (ours, theirs)]
    found = estimate_difference(*sides, our_df, their_df)
    assert found.error == pytest.approx(math.hypot(ours, theirs), rel=0.01)
    assert found.df == pytest.approx(df, abs=1.01)
    assert found.df <= df * 1.02


def test_runs_of_a_difference_may_be_drawn_together():
    """Its sides know nothing of each other, whatever their draws share; taken as pairs they are no further apart."""
    rng = np.random.default_rng(4)
    ours = np.concatenate([np.zeros(1001), rng.normal(0, 3, 1000)])
    found = estimate_difference(ours, ours + 1, 4, 4)
    assert found.value == -1
    assert found.error == pytest.approx(math.hypot(3, 3), rel=0.1)
    assert estimate(ours - (ours + 1), 4).error == 0


def test_the_size_of_a_test_whose_sides_vary_differently():
    """Five runs that vary against five that do not: a test at 5 % is wrong in 5 % of the cases, not in 8 %."""
    rng, cases, wrong = np.random.default_rng(2), 1500, 0
    weights = rng.multinomial(5, [0.2] * 5, size=1500) - 1
    for _ in range(cases):
        runs = rng.normal(0, 1, 5)
        mean = runs.mean()
        ours = np.concatenate([np.full(1501, mean), mean + (5 / 4) ** 0.5 * weights @ runs / 5])
        wrong += estimate_difference(ours, np.zeros(3001), 4, 4).p_differs() <= 0.05
    assert wrong / cases == pytest.approx(0.05, abs=0.015)


def test_a_statistic_that_resamples_seldom_define_is_none():
    draws = np.ones(201)
    draws[1:6] = np.nan
    assert estimate(draws, 3) is not None
    draws[101:106] = np.nan
    assert estimate(draws, 3) is not None
    draws[106] = np.nan
    assert estimate(draws, 3) is None
    assert estimate(np.array([np.nan, 1.0, 1.0]), 3) is None
    assert estimate(np.array([1.0, np.nan, 1.0]), 3) is None


def test_holm_by_hand():
    # sorted .01 .02 .03 .04: 4 x .01, 3 x .02, then never below the one before
    assert holm({"a": 0.03, "b": 0.01, "c": 0.04, "d": 0.02}) == pytest.approx(
        {"a": 0.06, "b": 0.04, "c": 0.06, "d": 0.06}
    )
    assert holm({"a": 0.02, "b": None}) == {"a": 0.04, "b": 1.0}
    assert holm({}) == {}


@pytest.mark.parametrize("seed", range(20))
def test_holm_rejects_what_the_sequential_procedure_rejects(seed):
    p_values = dict(enumerate(np.random.default_rng(seed).random(6) ** 3))
    adjusted = holm(p_values)
    for alpha in (0.01, 0.05, 0.2):
        rejected = set()
        for place, name in enumerate(sorted(p_values, key=p_values.get)):
            if p_values[name] > alpha / (len(p_values) - place):
                break
            rejected.add(name)
        assert rejected == {name for name, p in adjusted.items() if p <= alpha}


def test_holm_keeps_the_size_of_a_family_of_true_hypotheses():
    rng = np.random.default_rng(1)
    hit = [min(holm(dict(enumerate(rng.random(8)))).values()) <= 0.1 for _ in range(2000)]
    assert np.mean(hit) == pytest.approx(0.1, abs=0.02)
