"""Choosing the head set: best single heads, or greedy forward selection on the ensemble's SRA (AttnPO)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from attnpo.discovery.ranking import PairTable, sra


@dataclass(frozen=True)
class Ensemble:
    """Heads (row-major indices over layers × heads, in the order they were taken) and their ensemble's SRA."""

    heads: tuple[int, ...]
    sra: float


def greedy_selection(pairs: PairTable, max_heads: int) -> list[Ensemble]:
    """Add, `max_heads` times, the head that gives the ensemble the highest SRA.

    Among equals the head with the higher SRA of its own is taken, then the first one.

    Returns:
        The ensembles of 1, 2, … heads; each extends the one before.
    """
    differences_MN = pairs.differences_MN
    own_N = sra(differences_MN)
    sum_M = np.zeros(len(pairs))
    chosen: list[int] = []
    curve: list[Ensemble] = []
    for _ in range(min(max_heads, differences_MN.shape[1])):
        # The sign of a sum is the sign of the mean: no need to divide by the number of heads.
        sra_N = sra(differences_MN, added_to_M=sum_M)
        sra_N[chosen] = -1.0
        best = int(np.lexsort((np.arange(len(sra_N)), -own_N, -sra_N))[0])
        chosen.append(best)
        sum_M = sum_M + differences_MN[:, best]
        curve.append(Ensemble(tuple(chosen), float(sra_N[best])))
    return curve


def top_selection(pairs: PairTable, max_heads: int) -> list[Ensemble]:
    """Return the ensembles of the 1, 2, … heads with the highest SRA of their own (first one among equals)."""
    order = np.argsort(-sra(pairs.differences_MN), kind="stable")[:max_heads].tolist()
    return [Ensemble(tuple(order[:n]), ensemble_sra(pairs, order[:n])) for n in range(1, len(order) + 1)]


def ensemble_sra(pairs: PairTable, heads: Sequence[int]) -> float:
    """Return the SRA of the mean score of some heads."""
    return float(sra(pairs.ensemble(heads)[:, None])[0])


def choose(curve: Sequence[Ensemble], num_heads: int) -> Ensemble:
    """Return the ensemble of at most `num_heads` heads with the highest SRA, the smallest among equals.

    A head that makes the set worse on the half it was chosen on is not taken along to fill the number.
    """
    return max(curve[:num_heads], key=lambda ensemble: (ensemble.sra, -len(ensemble.heads)))
