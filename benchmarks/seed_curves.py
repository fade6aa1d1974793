"""How far each run lies from the reference's curve of its own seed, at its own length.

    python benchmarks/seed_curves.py runs/frontier
    python benchmarks/seed_curves.py runs/greedy --reference tlmre

A folder of `attnpo reproduce` with curves. A seed fixes the training problems, and runs of a seed go the same way; the
mean curves of `results.md` lose that wherever one seed does not reach a place. Here the reference's strengths of one
seed make a curve (straight between neighbours, by length), every other run of that seed is held against it at the
length where it ends, and runs beyond its ends are left out. Of a seed the mean over strengths, of a curve the mean over
seeds with Student's t over seeds: problems, which all runs share, are not in the error.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from statistics import mean, stdev

from attnpo.evaluation.result import EvaluationResult
from attnpo.significance import Estimate

Point = tuple[float, float]
"""Mean tokens of a response, share right."""


def main() -> None:
    """Print a line for each curve."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="output folder of attnpo reproduce")
    parser.add_argument("--reference", default="tlmre", help="curve that the others are held against (default: tlmre)")
    arguments = parser.parse_args()
    curves = read_curves(arguments.folder)
    if arguments.reference not in curves:
        parser.error(f"{arguments.folder}: no finished row is a strength of {arguments.reference}")
    print(f"| curve | points above {arguments.reference}'s | seeds | runs within its ends |\n|---|---|---|---|")
    for name, runs in curves.items():
        if name != arguments.reference:
            found = gaps(runs, curves[arguments.reference])
            values = [mean(own) for own in found.values()]
            count = sum(map(len, found.values()))
            print(f"| {name} | {said(values)} | {len(values)} | {count} of {sum(map(len, runs.values()))} |")


def read_curves(folder: Path) -> dict[str, dict[int, list[Point]]]:
    """Return curve → seed → its runs."""
    curves: dict[str, dict[int, list[Point]]] = {}
    for file in sorted(folder.glob("*/seed-*/evaluation.json")):
        overall = EvaluationResult.load(file).overall
        curve, seed = file.parts[-3].rpartition("-")[0], int(file.parts[-2].removeprefix("seed-"))
        point = (overall.response_tokens.value, overall.accuracy.value)
        curves.setdefault(curve, {}).setdefault(seed, []).append(point)
    return curves


def gaps(runs: Mapping[int, Sequence[Point]], reference: Mapping[int, Sequence[Point]]) -> dict[int, list[float]]:
    """Return seed → accuracy of each of its runs less the reference's at its length; runs beyond its ends left out."""
    found: dict[int, list[float]] = {}
    for seed, own in runs.items():
        for tokens, accuracy in own:
            if (there := between(reference.get(seed, ()), tokens)) is not None:
                found.setdefault(seed, []).append(accuracy - there)
    return found


def between(points: Sequence[Point], tokens: float) -> float | None:
    """Return the accuracy of a curve at a length; None beyond its ends."""
    ordered = sorted(points)
    for (low, first), (high, second) in pairwise(ordered):
        if low <= tokens <= high:
            return first if low == high else first + (second - first) * (tokens - low) / (high - low)
    return None


def said(values: Sequence[float]) -> str:
    """Return the mean in points with its interval of 95 %; a dash where fewer than two seeds say something."""
    if len(values) < 2:
        return "–"
    interval = Estimate(mean(values), stdev(values) / len(values) ** 0.5, len(values) - 1).interval()
    return f"{100 * interval.value:.1f} [{100 * interval.low:.1f}, {100 * interval.high:.1f}]"


if __name__ == "__main__":
    main()
