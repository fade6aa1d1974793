"""How often intervals over few training runs hold the truth: bootstrap percentiles, and variances with Student's t.

    python benchmarks/interval_coverage.py

Worlds in which the truth is known: two methods whose runs vary, measured on the same problems, which are harder or
longer for both. The fewer the runs and the more the problems, the more hangs on runs. Half a minute, numpy alone.
"""

from __future__ import annotations

import argparse
import sys

import numpy as np

from attnpo.significance import estimate_difference
from attnpo.statistics import Floats, draws_interval, ratio_draws, two_level_draws
from attnpo.tables import Table

SPREADS = {"length": (0.045, 0.4, 0.35), "accuracy": (0.025, 0.35, 0.45)}
"""Metric → standard deviations of a run, a problem and a response, where the mean is about 1: about what the small
world's runs of 160,000 tokens show."""


def world(rng: np.random.Generator, runs: int, problems_C: Floats, metric: str, gap: float) -> list[Floats]:
    """Return the runs of one method: per run (1 metric, 2, C)."""
    of_runs, _, of_responses = SPREADS[metric]
    means = 1 + gap + rng.normal(0, of_runs, runs)
    count = len(problems_C)
    cells = [mean + problems_C + rng.normal(0, of_responses, count) for mean in means]
    return [np.stack([cell, np.ones(count)])[None] for cell in cells]


def coverage(metric: str, runs: int, problems: int, worlds: int, resamples: int, level: float) -> tuple[float, float]:
    """Return the share of worlds whose interval holds the truth: by percentiles, and by variances with Student's t."""
    rng, held, gap = np.random.default_rng([runs, len(metric)]), np.zeros(2), 0.1
    for _ in range(worlds):
        problems_C = rng.normal(0, SPREADS[metric][1], problems)
        sides = [world(rng, runs, problems_C, metric, own) for own in (gap, 0.0)]
        ours, theirs = (ratio_draws(side, resamples, 0, [0, n])[:, 0] for n, side in enumerate(sides))
        plain = draws_interval(ours - theirs, level)
        ours, theirs = (two_level_draws(side, resamples, 0, [0, n])[:, 0] for n, side in enumerate(sides))
        widened = estimate_difference(ours, theirs, runs - 1, runs - 1)
        assert plain is not None
        assert widened is not None
        held += [not plain.excludes(gap), not widened.interval(level).excludes(gap)]
    by_percentiles, by_variances = held / worlds
    return float(by_percentiles), float(by_variances)


def main() -> None:
    """Print a table: metric and number of runs against the coverage of both intervals."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, nargs="+", default=[2, 3, 4, 5], help="training runs of each method")
    parser.add_argument("--problems", type=int, default=500, help="problems that both are measured on")
    parser.add_argument("--worlds", type=int, default=300, help="worlds a cell of the table")
    parser.add_argument("--resamples", type=int, default=200, help="resamples an interval")
    parser.add_argument("--level", type=float, default=0.95, help="coverage that is asked for")
    options = parser.parse_args()
    lines = []
    for metric in SPREADS:
        for runs in options.runs:
            found = coverage(metric, runs, options.problems, options.worlds, options.resamples, options.level)
            lines.append([metric, str(runs), *(f"{100 * share:.0f} %" for share in found)])
    heads = ["metric", "runs a method", "percentiles", "variances, Student's t"]
    sys.stdout.write(Table.of("", heads, lines).markdown() + "\n")


if __name__ == "__main__":
    main()
