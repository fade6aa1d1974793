from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from attnpo.statistics import (
    Interval,
    bootstrap_interval,
    mean_interval,
    paired_difference_interval,
    ratio_interval,
    ratio_intervals,
)


def exact_bootstrap(tops: list[float], bottoms: list[float], level: float) -> tuple[float, float]:
    """Quantiles over every one of the C ** C equally likely resamples."""
    n = len(tops)
    draws = []
    for drawn in itertools.product(range(n), repeat=n):
        bottom = sum(bottoms[i] for i in drawn)
        if bottom:
            draws.append(sum(tops[i] for i in drawn) / bottom)
    low, high = np.quantile(draws, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def test_mean_interval_matches_the_exact_bootstrap_distribution():
    values, clusters = [1.0, 0.0, 4.0, 2.0, 7.0, 7.0, 3.0], ["a", "a", "b", "c", "d", "d", "d"]
    tops, bottoms = [1.0, 4.0, 2.0, 17.0], [2.0, 1.0, 1.0, 3.0]
    low, high = exact_bootstrap(tops, bottoms, 0.8)
    found = mean_interval(values, clusters, level=0.8, n_resamples=40_000)
    assert found.value == pytest.approx(24 / 7)
    assert found.low == pytest.approx(low, abs=0.05)
    assert found.high == pytest.approx(high, abs=0.05)


def test_ratio_interval_leaves_out_resamples_without_denominator():
    tops, bottoms = [1.0, 0.0, 2.0], [4.0, 0.0, 3.0]
    low, high = exact_bootstrap(tops, bottoms, 0.9)
    found = ratio_interval(tops, bottoms, level=0.9, n_resamples=40_000)
    assert found.value == pytest.approx(3 / 7)
    assert (found.low, found.high) == pytest.approx((low, high), abs=0.02)


def test_rows_of_a_cluster_are_drawn_together():
    rng = np.random.default_rng(0)
    problem_means = rng.random(40)
    values = np.repeat(problem_means, 25)
    clusters = np.repeat(np.arange(40), 25).tolist()
    by_cluster, by_row = mean_interval(values, clusters), mean_interval(values)
    # Twenty-five copies of a value carry no more information than one: the interval is √25 times as wide.
    assert (by_cluster.high - by_cluster.low) / (by_row.high - by_row.low) == pytest.approx(5, rel=0.1)
    assert by_cluster.high - by_cluster.low == pytest.approx(2 * 1.96 * problem_means.std() / math.sqrt(40), rel=0.1)


def test_coverage_is_near_the_level():
    rng = np.random.default_rng(1)
    covered = 0
    for trial in range(300):
        pass_rates = rng.random(60)
        values = (rng.random((60, 4)) < pass_rates[:, None]).astype(float).ravel()
        found = mean_interval(values, np.repeat(np.arange(60), 4).tolist(), n_resamples=400, seed=trial)
        covered += found.low <= 0.5 <= found.high
    assert 0.90 <= covered / 300 <= 0.985


def test_same_seed_same_interval_and_other_seed_other():
    values = np.random.default_rng(2).random(50)
    assert mean_interval(values, seed=3) == mean_interval(values, seed=3)
    assert mean_interval(values, seed=3) != mean_interval(values, seed=4)


def test_several_ratios_equal_single_ones_and_an_undefined_one_is_none():
    rng = np.random.default_rng(3)
    tops, bottoms = rng.random((30, 3)), rng.random((30, 3))
    bottoms[:, 2] = 0
    clusters = (np.arange(30) // 3).tolist()
    found = ratio_intervals(tops, bottoms, clusters)
    assert found[:2] == [ratio_interval(tops[:, m], bottoms[:, m], clusters) for m in range(2)]
    assert found[2] is None


@settings(max_examples=50, deadline=None)
@given(st.lists(st.tuples(st.floats(-9, 9), st.integers(0, 5)), min_size=1, max_size=30))
def test_value_is_the_mean_and_lies_within_the_extremes(rows):
    values, clusters = [v for v, _ in rows], [c for _, c in rows]
    found = mean_interval(values, clusters, n_resamples=50)
    assert found.value == pytest.approx(math.fsum(values) / len(values), abs=1e-9)
    assert min(values) - 1e-9 <= found.low <= found.high <= max(values) + 1e-9


def test_paired_difference_cancels_what_problems_share():
    rng = np.random.default_rng(4)
    difficulty = rng.random(80) * 100
    a, b = difficulty, difficulty - 2 + rng.normal(0, 0.1, 80)
    found = paired_difference_interval(a, b)
    assert found.value == pytest.approx((b - a).mean())
    assert found.high - found.low == pytest.approx(2 * 1.96 * (b - a).std() / math.sqrt(80), rel=0.1)
    relative = paired_difference_interval(a, b, relative=True)
    assert relative.value == pytest.approx((b - a).mean() / a.mean())


def test_paired_difference_matches_rows_by_name_and_refuses_other_clusters():
    a, names_a = [1.0, 2.0, 5.0], ["x", "y", "z"]
    b, names_b = [6.0, 2.0, 1.0, 3.0], ["z", "x", "y", "y"]
    shuffled = paired_difference_interval(a, b, names_a, names_b)
    assert shuffled.value == pytest.approx(3.0 - 8 / 3)
    assert shuffled == paired_difference_interval(a, [2.0, 1.0, 3.0, 6.0], names_a, ["x", "y", "y", "z"])
    with pytest.raises(ValueError, match="same clusters"):
        paired_difference_interval(a, b, names_a, ["z", "x", "y", "w"])


def test_bootstrap_of_any_statistic():
    values = np.array([1.0, 2.0, 3.0, 10.0])
    found = bootstrap_interval(lambda w: (w @ values) / w.sum(axis=1), 4)
    assert found == mean_interval(values)


def test_memory_is_bounded_by_chunks(monkeypatch):
    sizes = []
    monkeypatch.setattr("attnpo.statistics._CELLS", 100)

    def statistic(weights):
        sizes.append(len(weights))
        return weights[:, 0]

    bootstrap_interval(statistic, 10, n_resamples=25)
    assert sizes == [1, 10, 10, 5]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: mean_interval([]), "at least one row"),
        (lambda: mean_interval([1.0], ["a", "b"]), "cluster names"),
        (lambda: ratio_interval([1.0], [0.0]), "denominator"),
        (lambda: ratio_interval([1.0], [1.0, 1.0]), "denominators"),
        (lambda: bootstrap_interval(lambda w: w[:, 0], 0), "at least one cluster"),
    ],
)
def test_nothing_to_estimate_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_interval_formats_and_excludes():
    interval = Interval(value=0.935, low=0.9, high=0.96)
    assert interval.format(1, 100) == "93.5 [90.0, 96.0]"
    assert interval.excludes(0.5)
    assert not interval.excludes(0.9)
