"""How far the runs of a method lie from another's curve of their own seed, each at the length where it ends.

A seed fixes the training problems, so runs of a seed go the same way, and a mean curve is lost wherever one seed does
not reach a place. Here the other method's strengths of one seed make a curve, and every run of that seed is held
against it at its own length. Runs beyond its ends are left out. As in every curve, neighbouring strengths whose lengths
stand the wrong way round are pooled (`attnpo.evaluation.strength`), which single runs often do.
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
        difference: accuracy (or what stands in its place) of a run less the other curve's of its seed at its length:
            of a seed the mean over strengths, and of those the mean over seeds; None where fewer than two seeds say
            something.
        seeds: seeds that say something.
        within: runs whose length lies within the ends of the other curve of their seed.
        runs: runs of the seeds that every strength has.
    """

    difference: Estimate | None
    seeds: int
    within: int
    runs: int

    @property
    def tested(self) -> Estimate | None:
        """The difference, if half of the runs or more are in it: of fewer it would be that of a chosen part."""
        return self.difference if 2 * self.within >= self.runs else None


def seed_curves(
    strengths: Sequence[str], seeds: Sequence[int], draws_KSDM: Sequence[Floats]
) -> dict[int, StrengthCurve]:
    """Return seed → the curve of its runs.

    Args:
        strengths: names of K strengths, weakest first.
        seeds: the S seeds.
        draws_KSDM: of each strength (S, 1 + R, 2): length and accuracy (or what stands in its place) of each run, on
            the data and on resamples.
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
    pairs = [
        [(run, reference[seed]) for run in _runs(own)] if seed in reference else [] for seed, own in curves.items()
    ]
    return _gap(pairs, sum(len(own.strengths) for own in curves.values()))


def leave_one_out(curves: Mapping[int, StrengthCurve]) -> RunGap:
    """Hold each run of a curve against its own other strengths: what straight lines between strengths are off by.

    A curve that bends lies above its straight lines, or below, and so does any method that follows it. With every
    strength left out in turn the lines are about twice as long as in `run_gap`, so this errs towards too much: for an
    even bend about four times.
    """
    pairs = [
        [(run, own.take([j for j in range(len(own.strengths)) if j != k])) for k, run in enumerate(_runs(own))]
        for own in curves.values()
        if len(own.strengths) > 2
    ]
    return _gap(pairs, sum(len(own.strengths) for own in curves.values()))


def within_bend(difference: Estimate | None, bend: RunGap | None, level: float = 0.95) -> bool:
    """Whether an interval has 0 once a quarter of the far end of the reference's own (`leave_one_out`) is taken off.

    Args:
        difference: of a curve's runs; None where it is not known.
        bend: of the reference's own runs; None, or without a difference, where it is not known.
        level: coverage of both intervals.
    """
    if difference is None or bend is None or bend.difference is None:
        return False
    ours, own = difference.interval(level), bend.difference.interval(level)
    off = max(0.0, own.high) / 4 if difference.value > 0 else min(0.0, own.low) / 4
    return ours.low - off <= 0 <= ours.high - off


def _runs(curve: StrengthCurve) -> list[StrengthCurve]:
    return [curve.take([k]) for k in range(len(curve.strengths))]


def _gap(pairs: Sequence[Sequence[tuple[StrengthCurve, StrengthCurve]]], runs: int) -> RunGap:
    """Hold runs against curves: of each seed its runs, each beside what it is held against."""
    gaps: list[Floats] = []
    within = 0
    for of_seed in pairs:
        inside = [
            run.accuracy_DK[:, 0] - there.accuracies_along(run.tokens_DK[:, 0])
            for run, there in of_seed
            if there.reaches(run.tokens_DK[0, 0])
        ]
        if inside:
            gaps.append(np.mean(inside, axis=0))
            within += len(inside)
    return RunGap(estimate_mean(np.stack(gaps)) if gaps else None, len(gaps), within, runs)
