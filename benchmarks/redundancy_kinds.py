"""What is left of redundancy in the responses of each row, and whether right answers still rest on a whole derivation.

Reads the evaluations of `attnpo reproduce` cells and the small world's oracle; nothing is run.

    python benchmarks/redundancy_kinds.py --folder runs/reproduce --rows base rloo tlmre attnpo attnpo-tuned lcr1 alp \
        --output docs/results/redundancy_kinds.md

Of correct responses, a mean a response: redundant steps before and after the asked value first stands, checks that
confirm, restated facts and values; and the share of responses in which every value on the way to the answer stands.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from attnpo.errors import AttnPOError, DataError
from attnpo.rollouts import Rollout, prompt_text, read_rollouts
from attnpo.tinyworld.oracle import describe_steps
from attnpo.tinyworld.problems import parse_question

COLUMNS = (
    "runs",
    "redundant before the value",
    "redundant after it",
    "of these checks",
    "others",
    "whole derivations, %",
)


def describe(rollout: Rollout) -> tuple[float, ...]:
    """Return the numbers of one correct response, in the order of `COLUMNS` behind the first."""
    question = prompt_text(rollout.prompt)
    parsed = parse_question(question)
    steps = describe_steps(question, rollout.response, [step.chars for step in rollout.steps])
    established = [name for step in steps for name in step.establishes]
    given = {fact.name for fact in parsed.held if fact.base is None}
    derived = {name for name in parsed.needed if name in parsed.values and name not in given}
    stands = next((i for i, step in enumerate(steps) if parsed.target in step.establishes), len(steps))
    redundant = [i for i, step in enumerate(steps) if step.label == "redundant"]
    checks = sum(steps[i].verdict is not None for i in redundant)
    before = sum(i < stands for i in redundant)
    whole = derived <= set(established)
    return before, len(redundant) - before, checks, len(redundant) - checks, 100.0 * whole


def describe_row(folder: Path) -> tuple[int, np.ndarray]:
    """Return how many runs a row has, and its means over runs and correct responses.

    Raises:
        DataError: it has no finished evaluation.
    """
    files = sorted([*folder.glob("rollouts.jsonl"), *folder.glob("seed-*/rollouts.jsonl")])
    if not files:
        raise DataError(f"{folder}: no rollouts.jsonl; run `attnpo reproduce --rows {folder.name}` into this folder")
    means = [np.mean([describe(r) for r in read_rollouts(file) if r.correct], axis=0) for file in files]
    return len(files), np.mean(means, axis=0)


def render(rows: Sequence[tuple[str, int, np.ndarray]]) -> str:
    """Return the table in Markdown."""
    lines = [f"| row | {' | '.join(COLUMNS)} |", f"|---|{'---|' * len(COLUMNS)}"]
    for name, runs, means in rows:
        shown = [f"{mean:.2f}" for mean in means[:-1]] + [f"{means[-1]:.1f}"]
        lines.append(f"| {name} | {runs} | {' | '.join(shown)} |")
    return "\n".join(lines) + "\n"


def main() -> None:
    """Read, print and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, required=True, help="folder of `attnpo reproduce`")
    parser.add_argument("--rows", nargs="+", required=True)
    parser.add_argument("--output", type=Path)
    args = parser.parse_args()
    text = render([(row, *describe_row(args.folder / row)) for row in args.rows])
    print(text)
    if args.output is not None:
        args.output.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    try:
        main()
    except AttnPOError as error:
        raise SystemExit(f"error: {error}") from error
