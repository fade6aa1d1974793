"""Runs held against another curve of their own seed, by hand."""

from __future__ import annotations

import numpy as np
import pytest

from attnpo.evaluation.strength import StrengthCurve
from attnpo.reporting.reproduction.run_gaps import RunGap, leave_one_out, run_gap, seed_curves, within_bend
from attnpo.significance import Estimate


def curve(*points, shifts=(0.0, 0.0)):
    """A curve of (tokens, accuracy), weakest first, on the data and on resamples that shift its accuracy."""
    tokens, accuracies = np.array(points).T
    rows = np.array([0.0, *shifts])[:, None]
    return StrengthCurve(tuple(map(str, tokens)), tokens + 0 * rows, accuracies + rows)


def test_a_run_is_held_against_its_own_seed_at_its_own_length():
    reference = {1: curve((120, 0.8), (100, 0.7)), 2: curve((100, 0.5), (80, 0.4))}
    runs = {1: curve((110, 0.80), (90, 0.9)), 2: curve((100, 0.52), (85, 0.40)), 3: curve((100, 1.0))}
    gap = run_gap(runs, reference)
    # seed 3 has no curve, and 90 tokens lie beyond that of seed 1: 0.05, and the mean of 0.02 and -0.025
    assert (gap.seeds, gap.within, gap.runs) == (2, 3, 5)
    assert gap.difference.value == pytest.approx((0.05 - 0.0025) / 2)
    assert gap.difference.error == pytest.approx(abs(0.05 + 0.0025) / 2)  # of two, half their distance
    assert gap.difference.df == 1


def test_what_fewer_than_two_seeds_say_is_no_number():
    one = run_gap({1: curve((110, 0.8))}, {1: curve((120, 0.8), (100, 0.7))})
    assert (one.difference, one.seeds, one.within) == (None, 1, 1)
    none = run_gap({1: curve((130, 0.8))}, {1: curve((120, 0.8), (100, 0.7))})
    assert (none.difference, none.seeds, none.within, none.runs) == (None, 0, 0, 1)


def test_problems_add_to_the_error_and_what_both_share_does_not():
    shifts = tuple(np.random.default_rng(0).normal(0, 0.03, 4000))
    reference = {seed: curve((120, 0.8), (100, 0.7), shifts=shifts) for seed in (1, 2, 3)}
    shared, own = (
        run_gap({seed: curve((110, 0.75 + 0.01 * seed), shifts=by) for seed in (1, 2, 3)}, reference).difference
        for by in (shifts, tuple(-x for x in shifts))
    )
    assert shared.value == own.value == pytest.approx(0.02)
    assert shared.error == pytest.approx(0.01 / 3**0.5)
    assert own.error == pytest.approx((0.06**2 + 0.01**2 / 3) ** 0.5, rel=0.05)
    assert own.df == shared.df == 2


def test_a_bend_is_what_straight_lines_miss():
    """Accuracy falls with the square of what is saved: lines twice as long miss four times as much."""

    def parabola(*tokens):
        return curve(*((t, 1 - ((120 - t) / 100) ** 2) for t in tokens))

    own = {seed: parabola(120, 110, 100, 90) for seed in (1, 2)}
    found = leave_one_out(own)
    assert (found.seeds, found.within, found.runs) == (2, 4, 8)  # the ends have nothing beyond them
    assert found.difference.value == pytest.approx(0.1 * 0.1)
    between = run_gap({seed: parabola(115, 105, 95) for seed in (1, 2)}, own)
    assert between.difference.value == pytest.approx(found.difference.value / 4)
    assert leave_one_out({seed: parabola(120, 100) for seed in (1, 2)}).difference is None


def test_few_runs_within_the_ends_are_told_and_not_tested():
    reference = {seed: curve((120, 0.8), (100, 0.7)) for seed in (1, 2)}
    half = run_gap({seed: curve((110, 0.8), (90, 0.7)) for seed in (1, 2)}, reference)
    assert half.tested == half.difference
    assert half.difference is not None
    fewer = run_gap({seed: curve((110, 0.8), (90, 0.7), (80, 0.6)) for seed in (1, 2)}, reference)
    assert fewer.difference == half.difference
    assert fewer.tested is None


@pytest.mark.parametrize("seeds", [3, 5, 6])
def test_intervals_cover_the_truth(seeds):
    """Two methods on one straight line but for 2 points; seeds shift accuracy and length, runs both again."""
    rng, inside, studies = np.random.default_rng(seeds), 0, 400

    def runs(dials, gap, shift):
        tokens = dials + shift[0] + rng.normal(0, 5, len(dials))
        accuracies = 0.5 + 0.004 * tokens + gap + shift[1] + rng.normal(0, 0.02, len(dials))
        return curve(*zip(tokens, accuracies, strict=True))

    for _ in range(studies):
        shifts = {seed: rng.normal(0, (8, 0.03)) for seed in range(seeds)}
        reference = {seed: runs(np.array([118.0, 106, 94, 82, 70]), 0.0, shift) for seed, shift in shifts.items()}
        ours = {seed: runs(np.array([110.0, 98, 86, 78]), 0.02, shift) for seed, shift in shifts.items()}
        interval = run_gap(ours, reference).difference.interval(0.9)
        inside += interval.low <= 0.02 <= interval.high
    assert 0.86 <= inside / studies <= 0.96


@pytest.mark.parametrize(
    ("value", "bend", "within"),
    [
        (0.013, 0.018, True),  # 0.013 ± 0.0077 less a quarter of 0.018 + 0.0077
        (0.020, 0.018, False),
        (0.013, 0.0, False),  # a quarter of 0.0077
        (-0.013, 0.018, False),  # lines below the curve credit no loss
        (-0.013, -0.018, True),
        (0.001, 0.0, True),
    ],
)
def test_what_a_bend_may_explain(value, bend, within):
    own = RunGap(Estimate(bend, 0.003, 5), 6, 18, 30)
    assert within_bend(Estimate(value, 0.003, 5), own) is within
    assert not within_bend(Estimate(value, 0.003, 5), None)
    assert not within_bend(None, own)


def test_curves_of_seeds_are_cut_from_the_strengths():
    weak, strong = np.arange(12.0).reshape(2, 3, 2), 100 + np.arange(12.0).reshape(2, 3, 2)
    found = seed_curves(("0.1", "0.2"), (7, 8), [weak, strong])
    assert found.keys() == {7, 8}
    assert found[8].strengths == ("0.1", "0.2")
    assert found[8].tokens_DK.tolist() == [[6, 106], [8, 108], [10, 110]]
    assert found[8].accuracy_DK.tolist() == [[7, 107], [9, 109], [11, 111]]
