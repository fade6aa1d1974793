from __future__ import annotations

import numpy as np
import pytest

from attnpo.statistics import (
    draws_interval,
    mean_interval,
    paired_difference_interval,
    ratio_draws,
    ratio_interval,
    two_level_draws,
)


def run(seed, clusters=30, ratios=3):
    rng = np.random.default_rng(seed)
    return np.stack([np.stack([rng.random(clusters), rng.integers(1, 4, clusters)]) for _ in range(ratios)])


def test_one_run_gives_the_plain_intervals():
    found = run(0)
    draws = ratio_draws([found], 500, seed=3)
    assert draws.shape == (501, 3)
    for m in range(3):
        expected = ratio_interval(*found[m], n_resamples=500, seed=3)
        assert draws_interval(draws[:, m]).model_dump() == pytest.approx(expected.model_dump())


def test_differences_of_draws_are_paired():
    base, other = np.random.default_rng(1).random((2, 30))
    a, b = (ratio_draws([np.stack([values, np.ones(30)])[None]], 400)[:, 0] for values in (base, other))
    expected = paired_difference_interval(base, other, n_resamples=400)
    assert draws_interval(b - a).model_dump() == pytest.approx(expected.model_dump())
    # Runs are drawn by themselves: an arm of several sees the same problems, but for the data not the same runs.
    runs = [run(1), run(2)]
    assert (ratio_draws(runs, 50, runs_seed=1)[0] == ratio_draws(runs, 50, runs_seed=2)[0]).all()
    assert (ratio_draws(runs, 50, runs_seed=1)[1:] != ratio_draws(runs, 50, runs_seed=2)[1:]).any()


def test_runs_vary_as_a_slow_bootstrap_says():
    runs = [run(seed, ratios=1) for seed in range(4)]
    draws = ratio_draws(runs, 20_000)[1:, 0]
    rng = np.random.default_rng(9)
    slow = []
    for _ in range(10_000):
        clusters, chosen = rng.integers(0, 30, 30), rng.integers(0, 4, 4)
        top, bottom = (sum(runs[s][0, part, clusters].sum() for s in chosen) for part in (0, 1))
        slow.append(top / bottom)
    assert np.quantile(draws, [0.1, 0.5, 0.9]) == pytest.approx(np.quantile(slow, [0.1, 0.5, 0.9]), abs=0.004)


def test_the_seed_may_be_several_numbers():
    found = run(0)
    one, two = (ratio_draws([found], 50, seed=[0, 3, block]) for block in (0, 1))
    assert (one[0] == two[0]).all()
    assert (one[1:] != two[1:]).any()


def test_what_no_resample_defines_is_none():
    empty = np.zeros((1, 2, 5))
    assert draws_interval(ratio_draws([empty], 20)[:, 0]) is None
    single = np.array([[[1.0, 0.0], [1.0, 0.0]]])
    found = draws_interval(ratio_draws([single], 50)[:, 0])
    assert (found.value, found.low, found.high) == (1, 1, 1)
    with pytest.raises(ValueError, match="at least one cluster"):
        ratio_draws([np.zeros((1, 2, 0))])


def test_means_of_rows_agree():
    values = np.random.default_rng(0).random(40)
    draws = ratio_draws([np.stack([np.stack([values, np.ones(40)])])], 300, seed=5)
    expected = mean_interval(values, n_resamples=300, seed=5)
    assert draws_interval(draws[:, 0]).model_dump() == pytest.approx(expected.model_dump())


def test_levels_drawn_apart():
    runs = [run(seed, ratios=2) for seed in range(4)]
    draws = two_level_draws(runs, 4000, seed=3, runs_seed=5)
    assert draws.shape == (8001, 2)
    pooled = np.sum(runs, axis=0)
    for m in range(2):
        expected = ratio_interval(*pooled[m], n_resamples=4000, seed=3)
        found = draws_interval(draws[:4001, m])
        assert found.model_dump() == pytest.approx(expected.model_dump())
    # Of runs alone: a bootstrap of the four runs' sums, as far from the data as sqrt(4 / 3) of it.
    rng = np.random.default_rng(9)
    sums = np.stack([r.sum(axis=2) for r in runs])
    slow = np.array([sums[rng.integers(0, 4, 4)].sum(axis=0) for _ in range(4000)])
    assert draws[4001:].std(axis=0) == pytest.approx(
        (4 / 3) ** 0.5 * (slow[..., 0] / slow[..., 1]).std(axis=0), rel=0.06
    )


def test_the_variance_of_few_runs_is_that_of_new_ones():
    rows = np.random.default_rng(5).normal(0, 1, (400, 3))
    variances = [
        two_level_draws([np.array([[[value], [1.0]]]) for value in row], 300, 0, [i])[301:, 0].var()
        for i, row in enumerate(rows)
    ]
    assert np.mean(variances) == pytest.approx(1 / 3, rel=0.12)


def test_one_run_varies_over_clusters_alone():
    draws = two_level_draws([run(0)], 50)
    assert np.allclose(draws[51:], draws[0], rtol=1e-12)
    assert (draws[1:51] != draws[0]).any()
