"""Credits that are sums of others cost no pass: a few independent rows, and every credit as a combination of them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from attnpo.statistics import Floats

TOLERANCE = 1e-6
"""Share of a row's norm below which what others do not explain of it is rounding: advantages are float32."""


@dataclass(frozen=True)
class Basis:
    """Some of M rows, and all of them as combinations of those.

    Attributes:
        chosen: places of the R independent rows, ascending.
        coefficients_MR: row m is sum over r of coefficients[m, r] * row chosen[r].
    """

    chosen: tuple[int, ...]
    coefficients_MR: Floats


def independent_rows(rows_MN: Floats, tolerance: float = TOLERANCE) -> Basis:
    """Choose rows that span all of them: Gram-Schmidt, the least explained row first.

    TLMRE's credit is linear in its strength, so that its whole curve takes two rows. A row of zeros takes none.
    """
    norms_M = np.linalg.norm(rows_MN, axis=1)
    norms_M = np.where(norms_M > 0, norms_M, 1.0)
    left_MN = unit_MN = rows_MN / norms_M[:, None]
    chosen: list[int] = []
    for _ in range(min(rows_MN.shape)):
        place = int(np.argmax(unexplained_M := np.linalg.norm(left_MN, axis=1)))
        if unexplained_M[place] <= tolerance:
            break
        chosen.append(place)
        direction_N = left_MN[place] / unexplained_M[place]
        left_MN = left_MN - np.outer(left_MN @ direction_N, direction_N)
        left_MN[chosen] = 0.0
    chosen.sort()
    if not chosen:
        return Basis((), np.zeros((len(rows_MN), 0)))
    # Solved for rows of length 1: of rows that differ by orders of magnitude, digits would be lost.
    solved_MR = np.asarray(np.linalg.lstsq(unit_MN[chosen].T, unit_MN.T, rcond=None)[0].T, dtype=np.float64)
    coefficients_MR = solved_MR * norms_M[:, None] / norms_M[chosen]
    coefficients_MR[chosen] = np.eye(len(chosen))
    return Basis(tuple(chosen), coefficients_MR)
