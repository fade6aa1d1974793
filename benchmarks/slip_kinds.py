"""Of which kind are the slips of trained models, and which are put right, beside a method's curve of the same length.

Reads rollouts of the small world's cells, labelled or not (`attnpo evaluate --output_dir FOLDER/ROW/seed-N`, or
`attnpo reproduce`); nothing is run.

    python benchmarks/slip_kinds.py --folder runs/slips --against tlmre-0.1 tlmre-0.5 --rows attnpo-0.3 oracle-0.3

A slip is a needed name that a response gives a wrong value (`attnpo.tinyworld.oracle.find_slips`): *stated* where the
step that first does states it, *derived* where an equation that holds comes to it (under another name, or from a wrong
number), *miscalculated* where an equation does not hold. Each run of `--rows` is held against a straight line through
the runs of its own seed in `--against`, at its own length; 95 % intervals over seeds and problems.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import get_args

import numpy as np

from attnpo.errors import AttnPOError, DataError
from attnpo.output import write_atomically
from attnpo.reporting.reproduction.run_gaps import RunGap, run_gap, seed_curves
from attnpo.rollouts import prompt_text, read_rollouts
from attnpo.statistics import Floats, ratio_draws
from attnpo.tables import NOTHING, Table
from attnpo.tinyworld.oracle import SlipKind, find_slips

KINDS = get_args(SlipKind)
PARTS = ("all", *KINDS)
MEASURES = tuple((part, measure) for part in PARTS for measure in ("slips", "mended", "left", "mended, %"))


def cells_of(folder: Path) -> tuple[list[str], Floats]:
    """Return the problems of one evaluation and (1 + M, 2, C): tokens, then each of `MEASURES`, as ratios."""
    columns: dict[str, list[list[float]]] = {}
    for rollout in read_rollouts(folder / "rollouts.jsonl"):
        spans = [step.chars for step in rollout.steps]
        slips = find_slips(prompt_text(rollout.prompt), rollout.response, spans)
        tops_bottoms = [[float(rollout.n_tokens), 1.0]]
        for part in PARTS:
            here = [slip for slip in slips if part in ("all", slip.kind)]
            mended = sum(slip.mended_at is not None for slip in here)
            tops_bottoms += [[len(here), 1], [mended, 1], [len(here) - mended, 1], [100 * mended, len(here)]]
        if rollout.problem_id in columns:
            raise DataError(f"{folder}: several responses to {rollout.problem_id}; one a problem is needed")
        columns[rollout.problem_id] = tops_bottoms
    problems = sorted(columns)
    return problems, np.array([columns[problem] for problem in problems], dtype=float).transpose(1, 2, 0)


def draws_of(folder: Path, rows: Sequence[str]) -> tuple[list[int], list[Floats]]:
    """Return the seeds that all rows have, and of each row (S, 1 + R, 1 + M): on the data and on resamples of problems.

    Raises:
        DataError: no seed has all rows, or runs were measured on different problems.
    """
    found = [{int(path.parent.name[5:]) for path in folder.glob(f"{row}/seed-*/rollouts.jsonl")} for row in rows]
    seeds = sorted(set.intersection(*found))
    if len(seeds) < 2:
        raise DataError(f"{folder}: {len(seeds)} seeds with all of {', '.join(rows)}; two are needed")
    draws = []
    shared: list[str] | None = None
    for row in rows:
        runs = [cells_of(folder / row / f"seed-{seed}") for seed in seeds]
        for problems, _ in runs:
            if shared is not None and problems != shared:
                raise DataError(f"{folder / row}: measured on other problems than {rows[0]}")
            shared = problems
        pooled = ratio_draws([np.concatenate([cells for _, cells in runs])])
        draws.append(pooled.reshape(len(pooled), len(seeds), -1).transpose(1, 0, 2))
    return seeds, draws


def shown(gap: RunGap) -> str:
    """Return a difference with its interval and how many runs are in it; nothing where fewer than half are."""
    if gap.tested is None:
        return NOTHING
    interval = gap.tested.interval(0.95)
    return f"{gap.tested.value:.3f} [{interval.low:.3f}, {interval.high:.3f}] ({gap.within} of {gap.runs})"


def render(folder: Path, against: Sequence[str], rows: Sequence[str]) -> str:
    """Return both tables in Markdown."""
    seeds, draws = draws_of(folder, [*against, *rows])
    head = ["", "tokens", *(f"{part}: {measure}" for part, measure in MEASURES)]
    means = [
        [row, *(f"{v:.3f}" for v in d[:, 0].mean(axis=0))] for row, d in zip([*against, *rows], draws, strict=True)
    ]
    held, others = draws[: len(against)], dict(zip(rows, draws[len(against) :], strict=True))
    gaps = []
    for measure, (part, name) in enumerate(MEASURES, start=1):
        line = [f"{part}: {name}"]
        reference = seed_curves(against, seeds, [d[:, :, [0, measure]] for d in held])
        for row, d in others.items():
            line.append(shown(run_gap(seed_curves([row], seeds, [d[:, :, [0, measure]]]), reference)))
        gaps.append(line)
    lines = f"Seeds {', '.join(map(str, seeds))}; a response, means over runs."
    beside = (
        f"Less the line through {', '.join(against)} of the same seed at the same length; 95 % intervals over seeds "
        "and problems, and how many runs lie within the line's ends."
    )
    tables = Table.of("", head, means).markdown(), Table.of("", ["", *rows], gaps).markdown()
    return f"{lines}\n\n{tables[0]}\n\n{beside}\n\n{tables[1]}\n"


def main() -> None:
    """Read, print and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, required=True, help="folder of rows, each with seed-N/rollouts.jsonl")
    parser.add_argument("--against", nargs="+", required=True, help="rows of the curve, weakest first")
    parser.add_argument("--rows", nargs="+", required=True, help="rows that are held against it")
    parser.add_argument("--output", type=Path, help="file of the tables; printed alone without")
    arguments = parser.parse_args()
    text = render(arguments.folder, arguments.against, arguments.rows)
    print(text)
    if arguments.output is not None:
        held = f"--against {' '.join(arguments.against)} --rows {' '.join(arguments.rows)}"
        command = f"python benchmarks/slip_kinds.py --folder {arguments.folder} {held}"
        write_atomically(arguments.output, f"Written by `{command}`.\n\n{text}")


if __name__ == "__main__":
    try:
        main()
    except AttnPOError as error:
        raise SystemExit(f"error: {error}") from error
