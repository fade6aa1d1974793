"""Inner products of mean gradients from different batches, with errors by a jackknife over batches.

A batch's own inner products carry its noise: the mean of <g_mb, g_nb'> over b != b' alone is <mu_m, mu_n> without bias.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from attnpo.significance import Estimate
from attnpo.statistics import Floats


@dataclass(frozen=True)
class Products:
    """All that is kept of the gradients of M credits on B batches; any linear combination of credits follows from it.

    Attributes:
        within_BMM: <g_mb, g_nb>, of one batch.
        with_sum_BMM: <g_mb, sum over all b' of g_nb'>.
    """

    within_BMM: Floats
    with_sum_BMM: Floats

    def moments(self, shares_B: Floats | None = None) -> Moments:
        """Return the moments of all batches, then those with each batch left out in turn.

        Gradients may be the parts that some of the problems have in their batches'. A batch with a share w of them has
        w mu as the mean of its part, and w noise: problems are independent of each other. Divided by these, moments are
        those of batches that hold no other problems. NaN where fewer than two batches hold any.

        Args:
            shares_B: the share w of each batch; 1 if absent.

        Raises:
            ValueError: there are fewer than three batches.
        """
        within_BMM, count = self.within_BMM, len(self.within_BMM)
        if count < 3:
            raise ValueError(f"{count} batches; a jackknife takes at least three")
        all_MM, own_MM = self.with_sum_BMM.sum(axis=0), within_BMM.sum(axis=0)
        cross_BMM = self.with_sum_BMM + self.with_sum_BMM.transpose(0, 2, 1)
        shares_B = np.ones(count) if shares_B is None else shares_B
        sums_S, squares_S = (np.append(0, -each) + each.sum() for each in (shares_B, shares_B**2))
        others_SMM = np.concatenate([(all_MM - own_MM)[None], all_MM - own_MM - cross_BMM + 2 * within_BMM])
        own_SMM = np.concatenate([own_MM[None], own_MM - within_BMM])
        between_SMM = _divided(others_SMM, sums_S**2 - squares_S)
        noise_SMM = _divided(own_SMM - squares_S[:, None, None] * between_SMM, sums_S)
        return Moments(between_SMM, between_SMM + noise_SMM, (count,))


@dataclass(frozen=True)
class Moments:
    """Of all B batches in row 0, without batch b in row 1 + b.

    Attributes:
        between_SMM: <mu_m, mu_n>.
        within_SMM: mean of <g_m, g_n> over batches.
        parts: how many batches each independent part of them has; those of a part follow each other.
    """

    between_SMM: Floats
    within_SMM: Floats
    parts: tuple[int, ...] = ()

    def mean(self, other: Moments) -> Moments:
        """Return the mean with the moments of other batches, then that without each of these and of those in turn."""

        def both(ours_SMM: Floats, theirs_SMM: Floats) -> Floats:
            return np.concatenate([ours_SMM + theirs_SMM[:1], ours_SMM[:1] + theirs_SMM[1:]]) / 2

        between_SMM, within_SMM = both(self.between_SMM, other.between_SMM), both(self.within_SMM, other.within_SMM)
        return Moments(between_SMM, within_SMM, self.parts + other.parts)


def jackknife(values_S: Floats, parts: Sequence[int] = ()) -> Estimate | None:
    """Return the estimate of a statistic from its values on all batches (first) and without each batch in turn.

    None where one of them is not known: what a single batch makes undefined has no error.

    Args:
        values_S: the values.
        parts: `Moments.parts`, whose variances add up; batches are one part if empty.
    """
    if not np.isfinite(values_S).all():
        return None
    by_part = np.split(values_S[1:], np.cumsum(parts)[:-1])
    spread = sum(((part - part.mean()) ** 2).sum() * (len(part) - 1) / len(part) for part in by_part)
    return Estimate(float(values_S[0]), float(np.sqrt(spread)), len(values_S) - 1 - len(by_part))


def _divided(values_SMM: Floats, by_S: Floats) -> Floats:
    """Return quotients, NaN where the divisor is 0 but for rounding."""
    return values_SMM / np.where(by_S > 1e-9, by_S, np.nan)[:, None, None]


Statistic = Callable[[Moments], Floats]
"""(S,) values of moments."""
