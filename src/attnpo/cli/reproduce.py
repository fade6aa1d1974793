"""`attnpo reproduce`: the comparison table, every method from the same model with the same budget."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from attnpo.cli.console import console, quiet_libraries
from attnpo.cli.parsing import given_value, parse
from attnpo.cli.row_list import rows_table
from attnpo.errors import listed
from attnpo.ranges import Count, Positive, Seed
from attnpo.study.suite import CURVES, load_suite
from attnpo.study.worlds import TINYWORLD, find_world

EXAMPLE = """  attnpo reproduce                                            # published methods and AttnPO, three seeds
  attnpo reproduce --suite ablations --seeds 1 2 3
  attnpo reproduce --rows attnpo tlmre --seeds 1              # two rows, one seed
  attnpo reproduce --suite frontier                           # methods as curves over their strength, as its file plans
  attnpo reproduce --suite frontier --only tlmre/21 attnpo/21 # two of its curves, one seed
  attnpo reproduce --list                                     # rows with paper, settings, estimated cost
  attnpo reproduce --max_sampled_tokens 4000 --num_eval 20 --num_probe 40 --rows rloo tlmre --seeds 1   # a smoke test

  attnpo reproduce --world gsm --minutes 150                  # real English: what can be done in 150 minutes
  attnpo reproduce --world gsm --help                         # its own defaults

  A cell is a row with a seed: OUTPUT_DIR/ROW/seed-SEED. To split the cells over machines, let one make what all share
  (any one cell that reads heads does) and copy it to the others first: each would find other heads, and cells of
  different heads are refused. In the end copy the folders together (--pack writes what counts of one, without its
  models), and write the table:
    machine 1:  attnpo reproduce --only attnpo/1 --output_dir runs/table
    copy:       base/, heads/ and *.settings.json of runs/table, from machine 1 to machine 2
    machine 1:  attnpo reproduce --only seed=1 --output_dir runs/table
    machine 2:  attnpo reproduce --only seed=2 attnpo/3 tlmre/3 --output_dir runs/table
    after:      attnpo reproduce --table --output_dir runs/table

  Interrupted, or out of --minutes? The same command goes on where it stopped. A cell that fails is named with its log
  at the end (exit code 1); the others go on, and the same command tries it again."""

Names = list[str]
Numbers = list[Seed]


@dataclass
class ReproduceArguments:
    """Which cells, and where results go."""

    world: str = field(
        default=TINYWORLD.name,
        metadata={"help": "tinyworld (the small world that ships) or gsm (grade-school problems in real English)."},
    )
    model: str | None = field(
        default=None, metadata={"help": "Model that every cell starts from; the world's own if absent."}
    )
    output_dir: str | None = field(
        default=None,
        metadata={
            "help": "Folder of all cells and of the table; runs/reproduce (runs/frontier for that suite), "
            "or the same with -WORLD, if absent."
        },
    )
    suite: str | None = field(
        default=None,
        metadata={
            "help": "Rows: main (published methods), ablations (of AttnPO, with controls and bounds), all of these, "
            "newer (published methods of 2025-26) or frontier (methods at several strengths, compared as curves); main "
            "if absent, all in gsm."
        },
    )
    rows: Names = field(
        default_factory=list,
        metadata={"help": "Rows by name, or curves for all of theirs, instead of a suite."},
    )
    seeds: Numbers = field(default_factory=lambda: [1, 2, 3], metadata={"help": "Training seeds of every row."})
    only: Names = field(
        default_factory=list,
        metadata={
            "help": "Run these cells alone: ROW or CURVE, alone or with /SEED, or seed=SEED. The table still is that "
            "of all rows."
        },
    )
    table: bool = field(default=False, metadata={"help": "Run nothing: write the table from what is there."})
    pack: str | None = field(
        default=None,
        metadata={
            "help": "Archive (.tar.gz or .tar.xz) for what the table takes of all finished cells, without models: "
            "unpacked into another machine's --output_dir they count there. With --table nothing is run."
        },
    )
    gradients: str | None = field(
        default=None,
        metadata={
            "help": "File of `attnpo gradients` (gradients.json): the table tells how far its order of the methods is "
            "that of the trained curves."
        },
    )
    jobs: Count = field(
        default=0,
        metadata={"help": "Cells side by side; 0: one a core. Each has one CPU thread, in gsm its share of the cores."},
    )
    minutes: Positive | None = field(
        default=None,
        metadata={
            "help": "End the call after so many minutes, once training has finished its step and saved: what is "
            "finished counts, the same command goes on."
        },
    )
    suite_file: str | None = field(default=None, metadata={"help": "YAML file of rows that replaces the one shipped."})
    list: bool = field(default=False, metadata={"help": "Show the rows with paper, settings and estimated cost; stop."})


def run(argv: Sequence[str]) -> None:
    """Run the command; exits with 1 when a cell failed."""
    world = find_world(given_value(argv, "world") or TINYWORLD.name)
    parsed = parse(
        "reproduce",
        (ReproduceArguments, type(world.sizes)),
        argv,
        "Train every method from the same model with the same budget, and write the comparison table.",
        EXAMPLE,
    )
    arguments, sizes = parsed.parts
    world = world.starting_from(arguments.model)
    asked = arguments.suite or world.suite
    suite = load_suite(Path(arguments.suite_file) if arguments.suite_file else None, world, asked)
    rows = suite.choose(asked, arguments.rows)
    sizes, seeds = suite.meant(sizes, arguments.seeds, parsed.given)
    if arguments.list:
        console.print(rows_table(rows, sizes, len(seeds), world))
        return
    quiet_libraries()
    from attnpo.progress import console_progress
    from attnpo.study.reproducing import reproduce

    with console_progress(console) as progress:
        done = reproduce(
            suite,
            rows,
            seeds,
            sizes,
            Path(arguments.output_dir or world.folder(CURVES if asked == CURVES else "reproduce")),
            only=[name for part in arguments.only for name in part.split(",") if name],
            jobs=arguments.jobs,
            minutes=arguments.minutes,
            world=world,
            run=not arguments.table,
            gradients=Path(arguments.gradients) if arguments.gradients else None,
            archive=Path(arguments.pack) if arguments.pack else None,
            argv=argv,
            progress=progress,
            note=console.print,
        )
    if done.missing and (done.files or done.out_of_time):
        console.print(f"{len(done.missing)} of {done.cells} cells are not there yet: {listed(done.missing)}")
    if done.out_of_time:
        console.print(f"{arguments.minutes:g} minutes are over; the same command goes on where this one stopped")
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
