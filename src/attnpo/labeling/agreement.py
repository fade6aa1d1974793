"""How far raters agree beyond chance: Fleiss' kappa of all, Cohen's kappa of two."""

from __future__ import annotations

from collections.abc import Hashable, Sequence

import numpy as np
from numpy.typing import ArrayLike

from attnpo.statistics import Floats, Interval, bootstrap_interval


def fleiss_kappa(counts: ArrayLike) -> float | None:
    """Return Fleiss' kappa (1971): (P − P_e) / (1 − P_e).

    P is the mean over items of the share of rater pairs that agree, P_e the chance that two ratings drawn from all are
    the same.

    Args:
        counts: (items, categories), how many raters put the item into the category; the same number of raters, at
            least 2, for every item.

    Returns:
        the kappa; None where it is not defined (no items, or all ratings are the same category).

    Raises:
        ValueError: the number of raters differs between items, or is below 2.
    """
    counts_SC = np.asarray(counts, dtype=np.float64)
    if counts_SC.shape[0] == 0:
        return None
    kappa = float(_kappa(_sums(counts_SC).sum(axis=0, keepdims=True))[0])
    return None if np.isnan(kappa) else kappa


def fleiss_interval(
    counts: ArrayLike,
    clusters: Sequence[Hashable],
    level: float = 0.95,
    n_resamples: int = 2000,
    seed: int = 0,
) -> Interval | None:
    """Return Fleiss' kappa with a bootstrap interval over clusters.

    Args:
        counts: (items, categories), see `fleiss_kappa`.
        clusters: one name an item; items of one cluster (steps of one problem) are drawn together.
        level: coverage of the interval.
        n_resamples: number of resamples.
        seed: seed of the resamples.

    Returns:
        the interval; None where kappa is not defined.
    """
    counts_SC = np.asarray(counts, dtype=np.float64)
    if fleiss_kappa(counts_SC) is None:
        return None
    place: dict[Hashable, int] = {}
    index_S = np.array([place.setdefault(name, len(place)) for name in clusters])
    sums_KM = np.zeros((len(place), counts_SC.shape[1] + 2))
    np.add.at(sums_KM, index_S, _sums(counts_SC))
    return bootstrap_interval(lambda weights_RK: _kappa(weights_RK @ sums_KM), len(place), level, n_resamples, seed)


def cohen_kappa(first: Sequence[str], second: Sequence[str]) -> float | None:
    """Return Cohen's kappa (1960) of two raters: (p_o − p_e) / (1 − p_e).

    p_e is the chance of agreement if each kept to its own shares of the categories.

    Returns:
        the kappa; None where it is not defined (no items, or both always say the same one category).

    Raises:
        ValueError: the lists differ in length.
    """
    pairs = list(zip(first, second, strict=True))
    if not pairs:
        return None
    observed = sum(a == b for a, b in pairs) / len(pairs)
    shares = [{c: list(side).count(c) / len(pairs) for c in {*first, *second}} for side in (first, second)]
    expected = sum(shares[0][c] * shares[1][c] for c in shares[0])
    return None if expected == 1 else (observed - expected) / (1 - expected)


def _sums(counts_SC: Floats) -> Floats:
    """Return (S, C + 2): share of agreeing pairs, 1, and ratings by category, for each item."""
    raters_S = counts_SC.sum(axis=1)
    raters = raters_S[0]
    if raters < 2 or (raters_S != raters).any():
        raise ValueError("kappa needs the same number of raters, at least 2, for every item")
    agreeing_S = (counts_SC * (counts_SC - 1)).sum(axis=1) / (raters * (raters - 1))
    return np.column_stack([agreeing_S, np.ones_like(agreeing_S), counts_SC])


def _kappa(sums_RM: Floats) -> Floats:
    with np.errstate(invalid="ignore", divide="ignore"):
        observed_R = sums_RM[:, 0] / sums_RM[:, 1]
        shares_RC = sums_RM[:, 2:] / sums_RM[:, 2:].sum(axis=1, keepdims=True)
        expected_R = (shares_RC**2).sum(axis=1)
        kappa_R: Floats = np.where(expected_R < 1, (observed_R - expected_R) / (1 - expected_R), np.nan)
    return kappa_R
