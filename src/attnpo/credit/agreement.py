"""How well step credit tells essential from redundant steps, and how near it comes to another method's."""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np
import torch
from torch import Tensor

from attnpo.credit.batches import ESSENTIAL, REDUNDANT
from attnpo.statistics import Floats, Interval, bootstrap_interval


@dataclass(frozen=True)
class Ranking:
    """Pairs of an essential and a redundant step of one response; (B,) float32 each.

    Attributes:
        pairs: how many there are.
        right: those whose essential step has more credit.
        wrong: those whose redundant step has more; in the others both have the same.
    """

    pairs: Tensor
    right: Tensor
    wrong: Tensor


@torch.no_grad()
def credit_ranking(credit_BK: Tensor, labels_BK: Tensor, owned_BK: Tensor) -> Ranking:
    """Compare the credit of every (essential, redundant) pair inside each response; one credit for all ties.

    Args:
        credit_BK: (B, K) credit of each step, such as the mean advantage of its tokens.
        labels_BK: (B, K) integer labels.
        owned_BK: (B, K) bool, the steps that own a token.
    """
    essential_BK1 = (owned_BK & (labels_BK == ESSENTIAL))[:, :, None]
    redundant_B1K = (owned_BK & (labels_BK == REDUNDANT))[:, None, :]
    pair_BKK = essential_BK1 & redundant_B1K
    more_BKK = credit_BK[:, :, None] > credit_BK[:, None, :]
    less_BKK = credit_BK[:, :, None] < credit_BK[:, None, :]
    counts = (pair_BKK, pair_BKK & more_BKK, pair_BKK & less_BKK)
    return Ranking(*(mask.sum(dim=(1, 2)).float() for mask in counts))


@dataclass(frozen=True)
class Moments:
    """Sums from which a correlation is made; (B,) float64 each, so that responses can be pooled and resampled."""

    n: Tensor
    x: Tensor
    y: Tensor
    xx: Tensor
    yy: Tensor
    xy: Tensor

    def interval(self, clusters: list[str], level: float = 0.95, n_resamples: int = 2000) -> Interval | None:
        """Return Pearson's correlation with an interval over clusters; None where either side does not vary.

        Args:
            clusters: B cluster names (problem ids).
            level: coverage of the interval.
            n_resamples: bootstrap resamples.
        """
        place = {name: row for row, name in enumerate(dict.fromkeys(clusters))}
        sums_C6 = np.zeros((len(place), 6))
        rows = np.stack([getattr(self, entry.name).numpy() for entry in fields(self)], axis=1)
        np.add.at(sums_C6, [place[name] for name in clusters], rows)
        if np.isnan(_pearson(sums_C6.sum(axis=0, keepdims=True))[0]):
            return None
        return bootstrap_interval(lambda weights_RC: _pearson(weights_RC @ sums_C6), len(place), level, n_resamples)


@torch.no_grad()
def credit_moments(x_BK: Tensor, y_BK: Tensor, mask_BK: Tensor, within: bool = False) -> Moments:
    """Return the moments of two credits over the steps of a mask.

    Args:
        x_BK: (B, K) credit of each step.
        y_BK: (B, K) the other credit.
        mask_BK: (B, K) bool, the steps that count.
        within: take each credit as its distance from its mean over the response's steps: whether a response as a whole
            was rewarded then plays no part.
    """
    mask_BK, x_BK, y_BK = mask_BK.double(), x_BK.double(), y_BK.double()
    if within:
        count_B1 = mask_BK.sum(dim=1, keepdim=True).clamp(min=1)
        x_BK = x_BK - (x_BK * mask_BK).sum(dim=1, keepdim=True) / count_B1
        y_BK = y_BK - (y_BK * mask_BK).sum(dim=1, keepdim=True) / count_B1
        # Equal credits leave a rounding error, which would be taken for variation.
        x_BK, y_BK = (value.where(value.abs() > 1e-9, 0.0) for value in (x_BK, y_BK))
    products = (torch.ones_like(x_BK), x_BK, y_BK, x_BK * x_BK, y_BK * y_BK, x_BK * y_BK)
    return Moments(*((product * mask_BK).sum(dim=1) for product in products))


def _pearson(sums_R6: Floats) -> Floats:
    n, x, y, xx, yy, xy = sums_R6.T
    with np.errstate(invalid="ignore", divide="ignore"):
        variance_x, variance_y = xx - x * x / n, yy - y * y / n
        defined = (variance_x > 1e-12 * np.maximum(xx, 1e-300)) & (variance_y > 1e-12 * np.maximum(yy, 1e-300))
        correlation: Floats = np.where(defined, (xy - x * y / n) / np.sqrt(variance_x * variance_y), np.nan)
    return correlation
