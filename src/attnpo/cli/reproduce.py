"""`attnpo reproduce`: the comparison table, every method on the small world with the same budget of sampled tokens."""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from attnpo.cli.console import console, quiet_libraries
from attnpo.cli.parsing import parse
from attnpo.errors import ConfigError
from attnpo.ranges import AtLeast0, AtLeast1, Count, Seed, SummedTokensOrNone

if TYPE_CHECKING:
    from attnpo.study.cells import Cell, Experiment
    from attnpo.study.running import Failure
    from attnpo.study.sizes import Sizes

EXAMPLE = """  attnpo reproduce                                            # the whole table: every method, three seeds
  attnpo reproduce --suite ablations --seeds 1 2 3
  attnpo reproduce --rows attnpo tlmre --seeds 1              # two rows, one seed
  attnpo reproduce --list                                     # rows with paper, settings, estimated cost
  attnpo reproduce --max_sampled_tokens 4000 --num_eval 20 --num_probe 40 --rows rloo tlmre --seeds 1   # a smoke test

  A cell is a row with a seed: OUTPUT_DIR/ROW/seed-SEED. Split the cells over machines, copy the folders together,
  and write the table:
    machine 1:  attnpo reproduce --only seed=1 --output_dir runs/table
    machine 2:  attnpo reproduce --only seed=2 attnpo/3 tlmre/3 --output_dir runs/table
    after:      attnpo reproduce --table --output_dir runs/table

  Interrupted? The same command goes on where it stopped. A cell that fails is named with its log at the end (exit code
  1); the others go on, and the same command tries it again."""

Names = list[str]
Numbers = list[Seed]


@dataclass
class ReproduceArguments:
    """Which cells, how much of everything, and where results go."""

    output_dir: str = field(default="runs/reproduce", metadata={"help": "Folder of all cells and of the table."})
    suite: str = field(
        default="main",
        metadata={"help": "Rows: main (published methods), ablations (of AttnPO, with controls and bounds) or all."},
    )
    rows: Names = field(default_factory=list, metadata={"help": "Rows by name, instead of a suite."})
    seeds: Numbers = field(default_factory=lambda: [1, 2, 3], metadata={"help": "Training seeds of every row."})
    only: Names = field(
        default_factory=list,
        metadata={"help": "Run these cells alone: ROW, ROW/SEED or seed=SEED. The table still is that of all rows."},
    )
    table: bool = field(default=False, metadata={"help": "Run nothing: write the table from what is there."})
    jobs: Count = field(default=0, metadata={"help": "Cells side by side, one CPU thread each; 0: one a core."})
    max_sampled_tokens: SummedTokensOrNone = field(
        default=160_000,
        metadata={"help": "Tokens that each training run may sample, probes included; 0: max_steps alone ends it."},
    )
    max_steps: AtLeast1 = field(default=200, metadata={"help": "Optimizer steps that a training run may take."})
    responses: AtLeast1 = field(default=64, metadata={"help": "Responses an optimizer step, 8 to a problem."})
    schedule_steps: Count = field(default=5, metadata={"help": "T of AttnPO's schedule (Eq. 8), in optimizer steps."})
    learning_rate: AtLeast0 = field(default=5e-4, metadata={"help": "Initial learning rate, falling with the tokens."})
    num_eval: AtLeast1 = field(default=500, metadata={"help": "Held-out problems that every model is measured on."})
    num_probe: AtLeast1 = field(
        default=400, metadata={"help": "Problems that heads are looked for on, 8 responses each."}
    )
    training: Names = field(
        default_factory=list, metadata={"help": "Further flags of `attnpo train` for every cell, as NAME=VALUE."}
    )
    suite_file: str | None = field(default=None, metadata={"help": "YAML file of rows that replaces the one shipped."})
    list: bool = field(default=False, metadata={"help": "Show the rows with paper, settings and estimated cost; stop."})


def run(argv: Sequence[str]) -> None:
    """Run the command; exits with 1 when a cell failed."""
    (arguments,) = parse(
        "reproduce",
        (ReproduceArguments,),
        argv,
        "Train every method on the small world with the same number of sampled tokens, and write the comparison table.",
        EXAMPLE,
    ).parts
    failures = reproduce(arguments, argv)
    if failures:
        for failure in failures:
            print(f"attnpo reproduce: {failure}", file=sys.stderr)
        said = "1 cell failed; the same command tries it again"
        if len(failures) > 1:
            said = f"{len(failures)} cells failed; the same command tries them again"
        print(f"attnpo reproduce: {said}", file=sys.stderr)
        sys.exit(1)


def reproduce(arguments: ReproduceArguments, argv: Sequence[str]) -> list[Failure]:
    """Run what is missing, write the table, and return the failures.

    Raises:
        AttnPOError: a setting is wrong, the folder holds results of other settings, or what all cells share failed.
    """
    from attnpo.cli.row_list import rows_table
    from attnpo.study.suite import load_suite

    suite = load_suite(Path(arguments.suite_file) if arguments.suite_file else None)
    rows = suite.choose(arguments.suite, arguments.rows)
    sizes = sizes_of(arguments)
    if arguments.list:
        console.print(rows_table(rows, sizes, len(arguments.seeds)))
        return []
    from attnpo.output import prepare_output_dir
    from attnpo.study.cells import Experiment, cells_of, cells_on_disk, choose_cells
    from attnpo.study.writing import write_table

    quiet_libraries()
    asked = cells_of(rows, list(dict.fromkeys(arguments.seeds)))
    chosen = choose_cells(asked, [name for part in arguments.only for name in part.split(",") if name])
    experiment = Experiment(prepare_output_dir(Path(arguments.output_dir)), sizes)
    if not arguments.table:
        for row in dict.fromkeys(cell.row.name for cell in chosen):
            suite[row].build(sizes.limit)
    experiment.claim_shared()
    experiment.check([*asked, *cells_on_disk(suite.rows, experiment.output_dir)])
    failures = [] if arguments.table else run_cells(experiment, chosen, arguments.jobs or cores(), argv)
    if not arguments.table and not cells_on_disk(suite.rows, experiment.output_dir):
        return failures
    files = write_table(experiment, suite, asked, shlex.join(["attnpo", "reproduce", *argv]))
    missing = [cell.name for cell in asked if not cell.done(experiment.output_dir)]
    if missing:
        console.print(f"{len(missing)} of {len(asked)} cells are not there yet: {', '.join(missing)}")
    console.print(*(f"written to {file}" for file in files), sep="\n")
    return failures


def run_cells(experiment: Experiment, cells: Sequence[Cell], jobs: int, argv: Sequence[str]) -> list[Failure]:
    """Run what all cells share, then the cells; return the failures of cells.

    Raises:
        AttnPOError: what all cells share failed, or a cell is there with other settings.
    """
    from attnpo.progress import console_progress
    from attnpo.study.running import run_arms

    with console_progress(console) as progress:
        run_arms(experiment.shared_arms(cells), jobs, progress)
    experiment.write_control_heads(cells)
    experiment.check(cells)
    waiting = [cell for cell in cells if not cell.done(experiment.output_dir)]
    console.print(f"{len(cells)} cells, {len(cells) - len(waiting)} of them finished before; {jobs} side by side")
    with console_progress(console) as progress:
        return run_arms([experiment.arm(cell, argv) for cell in waiting], jobs, progress, keep_going=True)


def sizes_of(arguments: ReproduceArguments) -> Sizes:
    """Return how much of everything was asked for.

    Raises:
        ConfigError: a number is out of range, or --training has another form.
    """
    from attnpo.study.sizes import Sizes

    training = {}
    for pair in arguments.training:
        name, equals, value = pair.partition("=")
        if not equals or not name:
            raise ConfigError(f"--training {pair}: give NAME=VALUE")
        training[name] = value
    if not arguments.seeds:
        raise ConfigError("--seeds: give at least one")
    return Sizes(
        max_sampled_tokens=arguments.max_sampled_tokens,
        max_steps=arguments.max_steps,
        responses=arguments.responses,
        schedule_steps=arguments.schedule_steps,
        learning_rate=arguments.learning_rate,
        num_eval=arguments.num_eval,
        num_probe=arguments.num_probe,
        training=training,
    )


def cores() -> int:
    """Return how many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
