"""Step Ranking Accuracy (SRA): does a head tell essential steps from redundant ones? (AttnPO, Key-Focus Heads)

Over all pairs (essential e, redundant r) inside one response, the share with S(e) > S(r); a tie counts ½. Pairs of all
responses are pooled, each pair with weight one. Because Eq. 2 is a mean over heads, an ensemble's score difference on a
pair is the mean of its heads' differences: the table of differences is all that any ensemble's SRA needs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from attnpo.rollouts import Rollout
from attnpo.statistics import Interval, mean_interval

Array = NDArray[np.float32]
# Pairs handled at a time, so that memory does not grow with pairs × heads in float64.
_CHUNK = 8192


@dataclass(frozen=True)
class PairTable:
    """All (essential, redundant) pairs of a probing set. M pairs, N heads.

    Attributes:
        differences_MN: S(e) − S(r) by head, float32; exactly 0 where the scores tie.
        problems_M: index of the problem each pair comes from.
        lengths_M2: tokens of the essential and of the redundant step.
    """

    differences_MN: Array
    problems_M: NDArray[np.int64]
    lengths_M2: NDArray[np.int64]

    def __len__(self) -> int:
        """Return the number of pairs M."""
        return len(self.problems_M)

    @property
    def length_matched_M(self) -> NDArray[np.bool_]:
        """Pairs whose steps differ by at most 10 % of the longer one, or by one token."""
        apart_M = np.abs(self.lengths_M2[:, 0] - self.lengths_M2[:, 1])
        return apart_M <= np.maximum(1, 0.1 * self.lengths_M2.max(axis=1, initial=0))

    def ensemble(self, heads: Sequence[int]) -> NDArray[np.float64]:
        """Return (M,) differences of the ensemble score (AttnPO, Eq. 2) of some heads."""
        return self.differences_MN[:, list(heads)].mean(axis=1, dtype=np.float64)


def pair_table(rollouts: Sequence[Rollout], scores: Sequence[Array]) -> PairTable:
    """Build the pairs of labelled responses.

    Args:
        rollouts: responses whose steps carry labels. Undecided steps, and steps that own no token, are in no pair.
        scores: per response (K steps, N heads).
    """
    places: dict[str, int] = {}
    differences, problems, lengths = [], [], []
    for rollout, scores_KN in zip(rollouts, scores, strict=True):
        problem = places.setdefault(rollout.problem_id, len(places))
        length_K = np.array([step.tokens[1] - step.tokens[0] for step in rollout.steps], dtype=np.int64)
        label_K = np.array([step.label for step in rollout.steps])
        essential = np.flatnonzero((label_K == "essential") & (length_K > 0))
        redundant = np.flatnonzero((label_K == "redundant") & (length_K > 0))
        e_index, r_index = (grid.ravel() for grid in np.meshgrid(essential, redundant, indexing="ij"))
        differences.append(scores_KN[e_index] - scores_KN[r_index])
        problems.append(np.full(len(e_index), problem))
        lengths.append(np.stack([length_K[e_index], length_K[r_index]], axis=1))
    return PairTable(
        differences_MN=np.concatenate(differences).astype(np.float32),
        problems_M=np.concatenate(problems),
        lengths_M2=np.concatenate(lengths),
    )


def wins(differences: NDArray[np.floating]) -> NDArray[np.float64]:
    """Return 1 where a difference is positive, ½ where it is 0, else 0."""
    return 0.5 * (1.0 + np.sign(differences, dtype=np.float64))


def sra(differences_MN: NDArray[np.floating], added_to_M: NDArray[np.float64] | None = None) -> NDArray[np.float64]:
    """Return (N,) SRA of each column of differences, each added to `added_to_M` first where given."""
    total_N = np.zeros(differences_MN.shape[1])
    for start in range(0, len(differences_MN), _CHUNK):
        rows = differences_MN[start : start + _CHUNK].astype(np.float64)
        if added_to_M is not None:
            rows += added_to_M[start : start + _CHUNK, None]
        total_N += wins(rows).sum(axis=0)
    return total_N / len(differences_MN)


def sra_interval(
    differences_M: NDArray[np.floating],
    problems_M: NDArray[np.int64],
    level: float = 0.95,
    resamples: int = 2000,
    seed: int = 0,
) -> Interval:
    """Return the SRA of at least one pair with its interval over problems."""
    return mean_interval(wins(differences_M), problems_M.tolist(), level, resamples, seed)


def ranked_intervals(
    pairs: PairTable, differences_M: NDArray[np.floating], level: float, resamples: int, seed: int
) -> tuple[Interval, Interval | None]:
    """Return the SRA of any ranking, given as differences, on all pairs and on length-matched ones, where there are."""

    def interval(rows_M: NDArray[np.bool_] | slice) -> Interval:
        return sra_interval(differences_M[rows_M], pairs.problems_M[rows_M], level, resamples, seed)

    matched_M = pairs.length_matched_M
    return interval(slice(None)), interval(matched_M) if matched_M.any() else None
