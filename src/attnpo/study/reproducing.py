"""The comparison table from start to end: run what is missing of its cells, then write it."""

from __future__ import annotations

import shlex
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from rich.progress import Progress

from attnpo.errors import ConfigError
from attnpo.output import prepare_output_dir, prepare_output_file
from attnpo.study.cells import Cell, Experiment, cells_of, cells_on_disk, choose_cells
from attnpo.study.packing import pack, packing_mode
from attnpo.study.running import Failure, cores, is_over, run_arms
from attnpo.study.sizes import Sizes
from attnpo.study.suite import Row, Suite
from attnpo.study.worlds import TINYWORLD, World
from attnpo.study.writing import about_row, write_table

if TYPE_CHECKING:
    from attnpo.gradients import GradientsResult


@dataclass(frozen=True)
class Reproduced:
    """What became of an experiment.

    Attributes:
        files: the table's files; empty where no cell is finished.
        cells: how many cells were asked for.
        missing: names of those that are not there yet.
        failures: what failed.
        out_of_time: whether the deadline ended the call before all was done.
    """

    files: list[Path]
    cells: int
    missing: list[str]
    failures: list[Failure]
    out_of_time: bool = False


def reproduce(
    suite: Suite,
    rows: Sequence[Row],
    seeds: Sequence[int],
    sizes: Sizes,
    output_dir: Path,
    *,
    only: Sequence[str] = (),
    jobs: int = 0,
    minutes: float | None = None,
    world: World = TINYWORLD,
    run: bool = True,
    gradients: Path | None = None,
    archive: Path | None = None,
    argv: Sequence[str] = (),
    progress: Progress | None = None,
    note: Callable[[str], None] | None = None,
) -> Reproduced:
    """Train and measure the cells that are missing, and write the table of all that are there.

    Args:
        suite: all rows.
        rows: those that are asked for.
        seeds: training seeds of each.
        sizes: how much of everything.
        output_dir: folder of all cells and of the table; cells that are there are left alone.
        only: cells to run, as `choose_cells` takes them; empty for all.
        jobs: cells side by side; 0 for one a core.
        minutes: when to end what runs, to be gone on with by the same call; None to run to the end.
        world: on which world.
        run: False writes the table of what is there.
        gradients: file of `attnpo gradients` whose order of methods is held against that of the trained curves.
        archive: where to write the small files of all finished cells, too (`attnpo.study.packing`); None for nowhere.
        argv: the arguments of `attnpo reproduce` that say the same, written beside results.
        progress: display, or None.
        note: called with a line before the cells are run.

    Raises:
        AttnPOError: a setting is wrong, the folder holds results of other settings, what all cells share failed, or
            nothing is run and no cell is finished.
    """
    deadline = None if minutes is None else time.monotonic() + 60 * minutes
    world = world.measured_with({**suite.evaluation, **sizes.further_evaluation})
    world.check(sizes)
    if not seeds:
        raise ConfigError("--seeds: give at least one")
    if archive is not None:
        packing_mode(archive)
        prepare_output_file(archive)
    is_pilot = suite.is_pilot(seeds)
    credits = _read_gradients(gradients, suite, is_pilot)
    asked = cells_of(rows, list(dict.fromkeys(seeds)))
    chosen = choose_cells(asked, only)
    if run:
        world.check_ready()
        for row in dict.fromkeys(cell.row.name for cell in chosen):
            suite[row].build(world.limit(sizes), world.group_size)
    experiment = Experiment(prepare_output_dir(output_dir), sizes, world)
    experiment.claim_shared(is_pilot)
    if run:
        experiment.claim_model()
    planned = suite.planned(list(dict.fromkeys(seeds)))
    if planned is not None and not is_pilot:
        experiment.claim_plan(planned)
    experiment.check([*asked, *cells_on_disk(suite.rows, output_dir)])
    failures = run_cells(experiment, chosen, jobs or cores(), argv, progress, note, deadline) if run else []
    missing = [cell.name for cell in asked if not experiment.done(cell)]
    nothing = run and not cells_on_disk(suite.rows, output_dir)
    command = shlex.join(["attnpo", "reproduce", *argv])
    files = [] if nothing else write_table(experiment, suite, asked, command, credits)
    if archive is not None:
        packed = pack(experiment, cells_on_disk(suite.rows, output_dir), archive)
        if note is not None:
            note(f"{packed} finished cells packed into {archive}")
    left = run and not all(map(experiment.done, chosen))
    return Reproduced(files, len(asked), missing, failures, left and is_over(deadline))


def _read_gradients(path: Path | None, suite: Suite, is_pilot: bool) -> GradientsResult | None:
    """Return the gradients that are to be held against the suite's curves.

    Raises:
        ConfigError: there are to be no curves, none of the credits is that of one of their rows, or they lack what
            curves are ranked by.
        DataError: the file is missing or malformed.
    """
    if path is None:
        return None
    if suite.frontier is None:
        raise ConfigError(f"--gradients {path}: is held against curves, and this suite has none; give --suite frontier")
    if is_pilot:
        raise ConfigError(f"--gradients {path}: is held against curves, and a pilot has none; leave it out")
    from attnpo.gradients import GradientsResult
    from attnpo.reporting.reproduction import matching_credits
    from attnpo.reporting.reproduction.ranking import FORETOLD

    credits, reference = GradientsResult.load(path), suite.frontier.against[0]
    there = [known.keys() for row in credits.rows for known in row.measures.values()]
    if lacking := [name for name in FORETOLD if any(name not in names for names in there)]:
        raise ConfigError(
            f"--gradients {path}: an older file without {', '.join(lacking)}; run `attnpo gradients` again"
        )
    rows = [row for name, own in suite.curves.items() if name != reference for row in own]
    if not any(matching_credits(map(about_row, rows), credits)):
        raise ConfigError(
            f"--gradients {path}: no credit has the method, settings and signal of a row other than {reference}'s; "
            "give `attnpo gradients --methods` the rows' own (attnpo reproduce --list)"
        )
    return credits


def run_cells(
    experiment: Experiment,
    cells: Sequence[Cell],
    jobs: int,
    argv: Sequence[str] = (),
    progress: Progress | None = None,
    note: Callable[[str], None] | None = None,
    deadline: float | None = None,
) -> list[Failure]:
    """Run what all cells share, then the cells; return the failures of cells.

    Args:
        experiment: where the cells are and how they are made.
        cells: which.
        jobs: how many side by side.
        argv: the arguments of the command, written beside results.
        progress: display, or None.
        note: called with a line before the cells are run.
        deadline: when to end, in seconds of `time.monotonic`; None to run to the end.

    Raises:
        AttnPOError: what all cells share failed, or a cell is there with other settings.
    """
    threads = experiment.world.threads(jobs, cores())
    run_arms(experiment.shared_arms(cells), jobs, progress, threads=threads, deadline=deadline)
    if is_over(deadline):
        return []
    experiment.write_control_heads(cells)
    experiment.check(cells)
    waiting = [cell for cell in cells if not experiment.done(cell)]
    if note is not None:
        note(f"{len(cells)} cells, {len(cells) - len(waiting)} of them finished before; {jobs} side by side")
    arms = [experiment.arm(cell, argv) for cell in waiting]
    return run_arms(arms, jobs, progress, keep_going=True, threads=threads, deadline=deadline)
