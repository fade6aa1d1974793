"""Tests of a difference whose resamples are known: Student's t, two one-sided tests, Holm's correction."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, TypeVar

import numpy as np

from attnpo.statistics import Floats, Interval

Name = TypeVar("Name")

DEFINED: Final = 0.95
"""Least share of the resamples that must define a statistic; from fewer, its error would be that of a chosen part."""
_ONE_ERROR: Final = (0.15865525393145707, 0.8413447460685429)
"""Where a normal distribution lies one standard error below and above its middle."""
_MOST_DF: Final = 1000
"""With more degrees of freedom Student's t is normal to the third digit."""
_ROUNDING: Final = 1e-9
"""Keeps degrees of freedom that are whole, such as 8, from ending just below."""


@dataclass(frozen=True)
class Estimate:
    """A number with its standard error.

    Attributes:
        value: the estimate on the data themselves.
        error: its standard error.
        df: degrees of freedom of the error.
    """

    value: float
    error: float
    df: int

    def interval(self, level: float = 0.95) -> Interval:
        """Return the interval of this coverage."""
        half = t_quantile((1 + level) / 2, self.df) * self.error
        return Interval(value=self.value, low=self.value - half, high=self.value + half)

    def p_differs(self) -> float:
        """Return the two-sided p-value of the hypothesis that the number is 0."""
        return 2 * self._above(abs(self.value))

    def p_equivalent(self, margin: float) -> float:
        """Return the p-value of the hypothesis that the number is at least `margin` away from 0 (two one-sided tests).

        Below p, its interval of coverage 1 - 2 p lies within the margin.
        """
        return max(self._above(self.value + margin), self._above(margin - self.value))

    def _above(self, distance: float) -> float:
        """Return the probability of an error above a distance."""
        if self.error == 0:
            return 0.0 if distance > 0 else 0.5 if distance == 0 else 1.0
        return t_above(distance / self.error, self.df)


def estimate(draws: Floats, df: float) -> Estimate | None:
    """Return an estimate from what `attnpo.statistics.two_level_draws` drew, or any function of such rows.

    The variances of the two levels add up; the noise of single answers is in both, so the error is rather too large.
    Each level's error is half of what the middle 68.27 % of its resamples span, which a few far ones leave alone.
    Degrees of freedom are the runs', and more the less runs vary beside problems (Welch and Satterthwaite).

    Args:
        draws: (1 + 2R,) the statistic on the data, on R resamples of problems, on R of runs; NaN where not defined.
        df: degrees of freedom of the runs, at least 1.

    Returns:
        None where the data do not define the statistic, or fewer than `DEFINED` of the resamples of either level do.
    """
    return _estimate(draws, *_variances(draws), df) if _is_defined(draws) else None


def estimate_difference(ours: Floats, theirs: Floats, our_df: int, their_df: int) -> Estimate | None:
    """Return the estimate of a difference whose two sides have runs that know nothing of each other.

    As `estimate`, but that each side's runs vary in their own way: their variances u and v add up, and the degrees of
    freedom of both together are (u + v)^2 / (u^2 / our_df + v^2 / their_df) (Welch and Satterthwaite). Which runs were
    drawn together does not matter, so both sides may come from the same resamples of runs. Where runs of both sides
    belong together in pairs, `estimate_mean` of their differences takes what they share out of the error.

    Args:
        ours: (1 + 2R,) as `estimate` takes them.
        theirs: the same of the other side, on the same resamples of problems.
        our_df: degrees of freedom of our runs, at least 1.
        their_df: of theirs.
    """
    difference = ours - theirs
    if not (_is_defined(difference) and _is_defined(ours) and _is_defined(theirs)):
        return None
    u, v = (_variances(side)[1] for side in (ours, theirs))
    runs_df = (u + v) ** 2 / (u**2 / our_df + v**2 / their_df) if u + v > 0 else _MOST_DF
    return _estimate(difference, _variances(difference)[0], u + v, runs_df)


def estimate_mean(draws_SD: Floats) -> Estimate | None:
    """Return the estimate of the mean over training runs, or seeds, of a statistic that each has of its own.

    The variance over runs is that of their mean; the one over problems is added to it, though what single answers do
    to a run is in both. Degrees of freedom stay those of the runs: of few that happen to agree, Welch's and
    Satterthwaite's would be far too many.

    Args:
        draws_SD: (S, 1 + R) each run's statistic on the data and on R resamples of problems, which all runs share.

    Returns:
        None for fewer than two runs.
    """
    n_runs = len(draws_SD)
    if n_runs < 2:
        return None
    mean_D = draws_SD.mean(axis=0)
    variance = _spread(mean_D[1:]) ** 2 + float(draws_SD[:, 0].var(ddof=1)) / n_runs
    return Estimate(float(mean_D[0]), variance**0.5, n_runs - 1)


def _estimate(draws: Floats, of_problems: float, of_runs: float, df: float) -> Estimate:
    variance = of_problems + of_runs
    both_df = df * (variance / of_runs) ** 2 if of_runs > 0 else _MOST_DF
    return Estimate(float(draws[0]), variance**0.5, int(min(_MOST_DF, both_df) + _ROUNDING))


def _is_defined(draws: Floats) -> bool:
    """Whether the data define a statistic, and enough of the resamples of either level."""
    levels = np.split(draws[1:], 2)
    return not np.isnan(draws[0]) and all(np.isnan(level).mean() <= 1 - DEFINED + 1e-9 for level in levels)


def _variances(draws: Floats) -> tuple[float, float]:
    """Return the variance over problems and over runs."""
    problems, runs = (_spread(level) ** 2 for level in np.split(draws[1:], 2))
    return problems, runs


def _spread(draws: Floats) -> float:
    known = draws[~np.isnan(draws)]
    low, high = np.quantile(known, _ONE_ERROR) if len(known) else (0.0, 0.0)
    return float(high - low) / 2


def holm(p_values: Mapping[Name, float | None]) -> dict[Name, float]:
    """Return p-values adjusted for being several: reject those of at most alpha, and no true one is, but in alpha.

    The family is fixed before the data are seen: what could not be measured (None) stays in it with p = 1. (Holm, A
    simple sequentially rejective multiple test procedure, 1979.)
    """
    known = {name: 1.0 if p is None else p for name, p in p_values.items()}
    adjusted: dict[Name, float] = {}
    least = 0.0
    for place, name in enumerate(sorted(known, key=lambda name: known[name])):
        least = max(least, min(1.0, (len(known) - place) * known[name]))
        adjusted[name] = least
    return {name: adjusted[name] for name in known}


def t_above(t: float, df: int) -> float:
    """Return the probability that Student's t with `df` degrees of freedom is above t.

    Raises:
        ValueError: `df` is below 1.
    """
    if df < 1:
        raise ValueError(f"Student's t needs at least 1 degree of freedom, not {df}")
    beyond = (1 - _within(abs(t), df)) / 2
    return beyond if t >= 0 else 1 - beyond


def t_quantile(probability: float, df: int) -> float:
    """Return where Student's t lies below with this probability, from 0.5 to below 1."""
    low, high = 0.0, 1.0
    while 1 - t_above(high, df) < probability:
        low, high = high, 2 * high
    for _ in range(100):
        middle = (low + high) / 2
        low, high = (middle, high) if 1 - t_above(middle, df) < probability else (low, middle)
    return (low + high) / 2


def _within(t: float, df: int) -> float:
    """Return P(|T| <= t), a finite sum in the angle arctan(t / sqrt(df)) (Abramowitz and Stegun, 26.7.3 and 26.7.4)."""
    angle = math.atan2(t, math.sqrt(df))
    cosine2, odd = math.cos(angle) ** 2, df % 2 == 1
    term = total = math.cos(angle) if odd else 1.0
    if df == 1:
        total = 0.0
    for k in range(3 if odd else 2, df - 1, 2):
        term *= cosine2 * (k - 1) / k
        total += term
    return 2 / math.pi * (angle + math.sin(angle) * total) if odd else math.sin(angle) * total
