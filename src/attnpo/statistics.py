"""Confidence intervals by bootstrap over clusters.

Several samples of one problem are not independent, so whole problems (clusters) are drawn with replacement, never
single responses. Intervals are percentile intervals of seeded resamples. Two limits to know when reading them: a
statistic that is the same in every cluster (all correct, none correct) has width 0, and with few clusters intervals are
a little too narrow (by about 1/(2C) of their width at C clusters).
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Sequence
from typing import TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray
from pydantic import BaseModel, ConfigDict

Floats: TypeAlias = NDArray[np.float64]
# Multiplicities of this many (resample, cluster) cells are held at a time: 32 MB.
_CELLS = 4_000_000


class Interval(BaseModel):
    """A point estimate with its confidence interval.

    Attributes:
        value: the estimate on the data themselves.
        low: lower end of the interval.
        high: upper end of the interval.
    """

    model_config = ConfigDict(frozen=True)

    value: float
    low: float
    high: float

    def format(self, digits: int = 1, scale: float = 1.0) -> str:
        """Return `value [low, high]`, each times `scale`, with `digits` decimals."""
        value, low, high = (scale * x for x in (self.value, self.low, self.high))
        return f"{value:.{digits}f} [{low:.{digits}f}, {high:.{digits}f}]"

    def excludes(self, value: float) -> bool:
        """Return whether `value` lies outside the interval."""
        return value < self.low or value > self.high


def bootstrap_interval(
    statistic: Callable[[Floats], Floats],
    clusters: int,
    level: float = 0.95,
    n_resamples: int = 2000,
    seed: int = 0,
) -> Interval:
    """Percentile interval of any statistic of weighted clusters.

    Args:
        statistic: maps multiplicities (R resamples, C clusters), how often each cluster was drawn, to R values. A value
            may be NaN where a resample does not define it (a ratio with denominator 0); such resamples are left out.
        clusters: number of clusters C.
        level: coverage of the interval.
        n_resamples: number of resamples R.
        seed: seed of the resamples.

    Raises:
        ValueError: there is no cluster, or no resample defines the statistic.
    """
    if clusters < 1:
        raise ValueError("an interval needs at least one cluster")
    value = float(statistic(np.ones((1, clusters)))[0])
    draws = np.concatenate([statistic(weights) for weights in _resamples(clusters, n_resamples, seed)])
    return _percentile(value, draws, level)


def ratio_intervals(
    numerators: ArrayLike,
    denominators: ArrayLike,
    clusters: Sequence[Hashable] | None = None,
    level: float = 0.95,
    n_resamples: int = 2000,
    seed: int = 0,
) -> list[Interval | None]:
    """Intervals of several pooled ratios, sum of numerators over sum of denominators, on the same resamples.

    Args:
        numerators: (N rows, M ratios).
        denominators: (N, M), or anything that broadcasts to it, not negative.
        clusters: N cluster names (problem ids); None makes each row a cluster of its own.
        level: coverage of the intervals.
        n_resamples: number of resamples.
        seed: seed of the resamples.

    Returns:
        M intervals; None for a ratio whose denominators are all 0.

    Raises:
        ValueError: there are no rows, or the lengths differ.
    """
    top_NM = np.asarray(numerators, dtype=np.float64)
    bottom_NM = np.broadcast_to(np.asarray(denominators, dtype=np.float64), top_NM.shape)
    n_rows, n_ratios = top_NM.shape
    if n_rows == 0:
        raise ValueError("an interval needs at least one row")
    index_N, n_clusters = _cluster_index(clusters, n_rows)
    top_CM = _sum_by_cluster(top_NM, index_N, n_clusters)
    bottom_CM = _sum_by_cluster(bottom_NM, index_N, n_clusters)
    draws_RM = np.concatenate([_divide(w @ top_CM, w @ bottom_CM) for w in _resamples(n_clusters, n_resamples, seed)])
    values_M = _divide(top_NM.sum(axis=0), bottom_NM.sum(axis=0))
    return [
        None if np.isnan(values_M[m]) else _percentile(float(values_M[m]), draws_RM[:, m], level)
        for m in range(n_ratios)
    ]


def ratio_interval(
    numerators: ArrayLike,
    denominators: ArrayLike,
    clusters: Sequence[Hashable] | None = None,
    level: float = 0.95,
    n_resamples: int = 2000,
    seed: int = 0,
) -> Interval:
    """Interval of one pooled ratio; see `ratio_intervals`.

    Raises:
        ValueError: there are no rows, the lengths differ, or the denominators are all 0.
    """
    top_N1 = np.asarray(numerators, dtype=np.float64).reshape(-1, 1)
    bottom_N1 = np.asarray(denominators, dtype=np.float64).reshape(-1, 1)
    if len(top_N1) != len(bottom_N1):
        raise ValueError(f"{len(top_N1)} numerators but {len(bottom_N1)} denominators")
    (interval,) = ratio_intervals(top_N1, bottom_N1, clusters, level, n_resamples, seed)
    if interval is None:
        raise ValueError("a ratio needs a denominator other than 0")
    return interval


def mean_interval(
    values: ArrayLike,
    clusters: Sequence[Hashable] | None = None,
    level: float = 0.95,
    n_resamples: int = 2000,
    seed: int = 0,
) -> Interval:
    """Interval of the mean over rows, rows of one cluster drawn together; see `ratio_intervals`.

    Raises:
        ValueError: there are no values, or the lengths differ.
    """
    values_N = np.asarray(values, dtype=np.float64)
    return ratio_interval(values_N, np.ones_like(values_N), clusters, level, n_resamples, seed)


def paired_difference_interval(
    values_a: ArrayLike,
    values_b: ArrayLike,
    clusters_a: Sequence[Hashable] | None = None,
    clusters_b: Sequence[Hashable] | None = None,
    *,
    relative: bool = False,
    level: float = 0.95,
    n_resamples: int = 2000,
    seed: int = 0,
) -> Interval:
    """Interval of mean(b) − mean(a) where both were measured on the same clusters.

    The same clusters are drawn for a and b, so what is common to a problem cancels.

    Args:
        values_a: N_a values.
        values_b: N_b values.
        clusters_a: N_a cluster names (problem ids); None makes each row a cluster of its own.
        clusters_b: N_b cluster names, the same set as `clusters_a`.
        relative: divide the difference by mean(a).
        level: coverage of the interval.
        n_resamples: number of resamples.
        seed: seed of the resamples.

    Raises:
        ValueError: the clusters of a and b are not the same set.
    """
    a_N, b_N = (np.asarray(values, dtype=np.float64).ravel() for values in (values_a, values_b))
    names_a = list(range(len(a_N))) if clusters_a is None else list(clusters_a)
    names_b = list(range(len(b_N))) if clusters_b is None else list(clusters_b)
    if set(names_a) != set(names_b):
        raise ValueError("a paired difference needs the same clusters on both sides")
    order = list(dict.fromkeys(names_a))
    (top_a, bottom_a), (top_b, bottom_b) = (
        cluster_sums(v, np.ones_like(v), n, order) for v, n in ((a_N, names_a), (b_N, names_b))
    )

    def statistic(weights_RC: Floats) -> Floats:
        a_R, b_R = (
            _divide(weights_RC @ top_a, weights_RC @ bottom_a),
            _divide(weights_RC @ top_b, weights_RC @ bottom_b),
        )
        difference_R = b_R - a_R
        return _divide(difference_R, a_R) if relative else difference_R

    return bootstrap_interval(statistic, len(order), level, n_resamples, seed)


def cluster_sums(
    numerators: ArrayLike, denominators: ArrayLike, clusters: Sequence[Hashable], order: Sequence[Hashable]
) -> Floats:
    """Return (2, C): numerators and denominators summed by cluster, clusters in the given order."""
    place = {name: index for index, name in enumerate(order)}
    index_N = np.fromiter((place[name] for name in clusters), dtype=np.int64, count=len(clusters))
    rows_N2 = np.stack([np.asarray(numerators, dtype=np.float64), np.asarray(denominators, dtype=np.float64)], axis=1)
    return _sum_by_cluster(rows_N2, index_N, len(order)).T


def ratio_draws(
    runs: Sequence[Floats],
    n_resamples: int = 2000,
    seed: int | Sequence[int] = 0,
    runs_seed: int | Sequence[int] = 0,
) -> Floats:
    """Several pooled ratios on the data and on resamples of clusters and, where there are several, of training runs.

    Arms drawn with the same `seed` and the same clusters see the same resamples of clusters, so that any function of
    their rows is paired (`draws_interval` makes its interval). Arms with different `runs_seed` have their runs drawn
    independently.

    Args:
        runs: per run (M ratios, 2, C): numerators and denominators by cluster, clusters in the same order in every run.
        n_resamples: number of resamples R.
        seed: seed of the resamples of clusters.
        runs_seed: seed of the resamples of runs.

    Returns:
        (1 + R, M); row 0 holds the ratios on the data themselves. NaN where a denominator is 0.

    Raises:
        ValueError: there is no cluster.
    """
    n_ratios, _, n_clusters = runs[0].shape
    if n_clusters < 1:
        raise ValueError("an interval needs at least one cluster")
    rng = np.random.default_rng(runs_seed)
    # (C, S runs x 2 x M): one product a block of resamples serves all runs and ratios.
    cells = np.stack([run.transpose(2, 1, 0) for run in runs], axis=1).reshape(n_clusters, -1)

    def ratios(weights_RC: Floats, weights_RS: Floats) -> Floats:
        sums = (weights_RC @ cells).reshape(len(weights_RC), len(runs), 2, n_ratios)
        pooled = np.einsum("rs,rsbm->brm", weights_RS, sums)
        return _divide(pooled[0], pooled[1])

    blocks = [ratios(np.ones((1, n_clusters)), np.ones((1, len(runs))))]
    for weights_RC in _resamples(n_clusters, n_resamples, seed):
        blocks.append(ratios(weights_RC, _multiplicities(len(runs), len(weights_RC), rng)))
    return np.concatenate(blocks)


def two_level_draws(
    runs: Sequence[Floats], n_resamples: int = 2000, seed: int | Sequence[int] = 0, runs_seed: int | Sequence[int] = 0
) -> Floats:
    """Several pooled ratios on the data, on resamples of clusters alone, and on resamples of training runs alone.

    Drawn apart, the two levels tell how much each adds to an error. How often a run is drawn lies sqrt(S / (S - 1))
    times as far from once as in a plain bootstrap of S runs, which would find (S - 1) / S of their variance.

    Args:
        runs: per run (M ratios, 2, C), as `ratio_draws` takes them.
        n_resamples: number of resamples R of each level.
        seed: seed of the resamples of clusters; arms with the same one see the same resamples.
        runs_seed: seed of the resamples of runs; arms with different ones have their runs drawn independently.

    Returns:
        (1 + 2R, M): the data, R resamples of clusters, R of runs (of one run, R times the data).
    """
    by_cluster = ratio_draws([np.sum(runs, axis=0)], n_resamples, seed)
    n_runs = len(runs)
    weights_RS = _multiplicities(n_runs, n_resamples, np.random.default_rng(runs_seed))
    weights_RS = 1 + (n_runs / max(1, n_runs - 1)) ** 0.5 * (weights_RS - 1)
    sums_RM2 = np.einsum("rs,smb->rmb", weights_RS, np.stack([run.sum(axis=2) for run in runs]))
    return np.concatenate([by_cluster, _divide(sums_RM2[..., 0], sums_RM2[..., 1])])


def draws_interval(draws: Floats, level: float = 0.95) -> Interval | None:
    """Percentile interval of one statistic from (1 + R,) draws, the estimate first; None where that is not defined.

    Resamples that do not define the statistic (NaN) are left out.
    """
    return None if np.isnan(draws[0]) else _percentile(float(draws[0]), draws[1:], level)


def _resamples(n_clusters: int, n_resamples: int, seed: int | Sequence[int]) -> Iterator[Floats]:
    rng = np.random.default_rng(seed)
    size = max(1, _CELLS // n_clusters)
    for start in range(0, n_resamples, size):
        yield _multiplicities(n_clusters, min(size, n_resamples - start), rng)


def _multiplicities(n_clusters: int, n_resamples: int, rng: np.random.Generator) -> Floats:
    drawn_RC = rng.integers(0, n_clusters, size=(n_resamples, n_clusters))
    flat = (drawn_RC + n_clusters * np.arange(n_resamples)[:, None]).ravel()
    counts = np.bincount(flat, minlength=n_resamples * n_clusters)
    return counts.reshape(n_resamples, n_clusters).astype(np.float64)


def _cluster_index(clusters: Sequence[Hashable] | None, n_rows: int) -> tuple[NDArray[np.int64], int]:
    if clusters is None:
        return np.arange(n_rows), n_rows
    if len(clusters) != n_rows:
        raise ValueError(f"{n_rows} rows but {len(clusters)} cluster names")
    place: dict[Hashable, int] = {}
    index_N = np.fromiter((place.setdefault(name, len(place)) for name in clusters), dtype=np.int64, count=n_rows)
    return index_N, len(place)


def _sum_by_cluster(rows_NM: Floats, index_N: NDArray[np.int64], n_clusters: int) -> Floats:
    sums_CM = np.zeros((n_clusters, rows_NM.shape[1]))
    np.add.at(sums_CM, index_N, rows_NM)
    return sums_CM


def _divide(top: Floats, bottom: Floats) -> Floats:
    return np.divide(top, bottom, out=np.full_like(top, np.nan), where=bottom != 0)


def _percentile(value: float, draws_R: Floats, level: float) -> Interval:
    defined = draws_R[~np.isnan(draws_R)]
    if len(defined) == 0 or np.isnan(value):
        raise ValueError("no resample defines the statistic")
    low, high = np.quantile(defined, [(1 - level) / 2, (1 + level) / 2])
    return Interval(value=value, low=float(low), high=float(high))
