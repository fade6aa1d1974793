"""Inner products of the gradients of batches, some coordinates at a time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from attnpo.gradients.products import Products
from attnpo.statistics import Floats


@dataclass
class Sums:
    """Inner products over the coordinates seen so far, in the batches' own rows.

    Attributes:
        coefficients: of each batch, (M, R): its M credits as combinations of its R rows.
        within: of each batch, (R, R): its rows with each other.
        with_sum: of each batch, (R, M): its rows with the sum of every batch's credits.
    """

    coefficients: Sequence[Floats]
    within: list[Floats]
    with_sum: list[Floats]

    @classmethod
    def empty(cls, coefficients: Sequence[Floats]) -> Sums:
        """Return the sums over no coordinates."""
        credits = len(coefficients[0])
        return cls(
            coefficients,
            [np.zeros((c.shape[1], c.shape[1])) for c in coefficients],
            [np.zeros((c.shape[1], credits)) for c in coefficients],
        )

    def add(self, rows: Sequence[Floats], weights: Floats | None) -> None:
        """Add some coordinates.

        Args:
            rows: of each batch, (R, d).
            weights: (d,) of the coordinates; 1 if absent.
        """
        # One batch at a time: the credits of all batches take many times the rows' memory.
        sum_MD = np.zeros((len(self.coefficients[0]), rows[0].shape[1]))
        for own_MR, row_RD in zip(self.coefficients, rows, strict=True):
            sum_MD += own_MR @ row_RD
        for number, own in enumerate(rows):
            weighed = own if weights is None else own * weights
            self.within[number] += weighed @ own.T
            self.with_sum[number] += weighed @ sum_MD.T

    def products(self) -> Products:
        """Return the inner products of the credits."""
        triples = list(zip(self.coefficients, self.within, self.with_sum, strict=True))
        return Products(
            np.stack([c @ within @ c.T for c, within, _ in triples]),
            np.stack([c @ with_sum for c, _, with_sum in triples]),
        )
