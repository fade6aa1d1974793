"""How far the runs of a method lie from another's curve of their own seed, each at the length where it ends.

A seed fixes the training problems, so runs of a seed go the same way, and a mean curve is lost wherever one seed does
not reach a place. Here the other method's strengths of one seed make a curve, and every run of that seed is held
against it at its own length. Runs beyond its ends are left out.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from attnpo.evaluation.strength import StrengthCurve
from attnpo.significance import Estimate, estimate_mean
from attnpo.statistics import Floats


@dataclass(frozen=True)
class RunGap:
    """Runs of one curve against another's.

    Attributes:
        difference: accuracy of a run less the other curve's of its seed at its length: of a seed the mean over
            strengths, and of those the mean over seeds; None where fewer than two seeds say something.
        seeds: seeds that say something.
        within: runs whose length lies within the ends of the other curve of their seed.
        runs: runs that there are.
    """

    difference: Estimate | None
    seeds: int
    within: int
    runs: int


def seed_curves(
    strengths: Sequence[str], seeds: Sequence[int], draws_KSDM: Sequence[Floats]
) -> dict[int, StrengthCurve]:
    """Return seed → the curve of its runs.

    Args:
        strengths: names of K strengths, weakest first.
        seeds: the S seeds.
        draws_KSDM: of each strength (S, 1 + R, 2): length and accuracy of each run, on the data and on resamples.
    """
    both_KSDM = np.stack(draws_KSDM)
    return {
        seed: StrengthCurve(tuple(strengths), both_KSDM[:, s, :, 0].T, both_KSDM[:, s, :, 1].T)
        for s, seed in enumerate(seeds)
    }


def run_gap(curves: Mapping[int, StrengthCurve], reference: Mapping[int, StrengthCurve]) -> RunGap:
    """Hold the runs of each seed against the reference's curve of that seed.

    Which runs lie within its ends is what the data say; a resample whose length lies beyond them has the end's value.

    Args:
        curves: seed → the runs of a method.
        reference: seed → the curve of another, on the same resamples of problems.
    """
    gaps: list[Floats] = []
    within = 0
    for seed, own in curves.items():
        there = reference.get(seed)
        inside = [k for k, tokens in enumerate(own.tokens_DK[0]) if there is not None and there.reaches(tokens)]
        if there is not None and inside:
            gaps.append(
                np.mean([own.accuracy_DK[:, k] - there.accuracies_along(own.tokens_DK[:, k]) for k in inside], axis=0)
            )
            within += len(inside)
    difference = estimate_mean(np.stack(gaps)) if gaps else None
    return RunGap(difference, len(gaps), within, sum(len(own.strengths) for own in curves.values()))
