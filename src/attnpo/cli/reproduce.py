"""`attnpo reproduce`: the comparison table, every method on the small world with the same budget of sampled tokens."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from attnpo.cli.console import console, quiet_libraries
from attnpo.cli.parsing import parse
from attnpo.cli.row_list import rows_table
from attnpo.ranges import Count, Seed
from attnpo.study.sizes import Sizes
from attnpo.study.suite import load_suite

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
    """Which cells, and where results go."""

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
    suite_file: str | None = field(default=None, metadata={"help": "YAML file of rows that replaces the one shipped."})
    list: bool = field(default=False, metadata={"help": "Show the rows with paper, settings and estimated cost; stop."})


def run(argv: Sequence[str]) -> None:
    """Run the command; exits with 1 when a cell failed."""
    arguments, sizes = parse(
        "reproduce",
        (ReproduceArguments, Sizes),
        argv,
        "Train every method on the small world with the same number of sampled tokens, and write the comparison table.",
        EXAMPLE,
    ).parts
    suite = load_suite(Path(arguments.suite_file) if arguments.suite_file else None)
    rows = suite.choose(arguments.suite, arguments.rows)
    if arguments.list:
        console.print(rows_table(rows, sizes, len(arguments.seeds)))
        return
    quiet_libraries()
    from attnpo.progress import console_progress
    from attnpo.study.reproducing import reproduce

    with console_progress(console) as progress:
        done = reproduce(
            suite,
            rows,
            arguments.seeds,
            sizes,
            Path(arguments.output_dir),
            only=[name for part in arguments.only for name in part.split(",") if name],
            jobs=arguments.jobs,
            run=not arguments.table,
            argv=argv,
            progress=progress,
            note=console.print,
        )
    if done.missing and done.files:
        console.print(f"{len(done.missing)} of {done.cells} cells are not there yet: {', '.join(done.missing)}")
    for file in done.files:
        console.print(f"written to {file}")
    for failure in done.failures:
        print(f"attnpo reproduce: {failure}", file=sys.stderr)
    if done.failures:
        said = "1 cell failed; the same command tries it again"
        if len(done.failures) > 1:
            said = f"{len(done.failures)} cells failed; the same command tries them again"
        print(f"attnpo reproduce: {said}", file=sys.stderr)
        sys.exit(1)
