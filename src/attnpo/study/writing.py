"""Write the table of an experiment: Markdown, CSV, JSON, figure, page, and what `docs/results.md` takes over."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from attnpo.about import commit, machine, today
from attnpo.credit.methods import find_preset, method_class
from attnpo.documents import is_complete
from attnpo.errors import DataError
from attnpo.output import prepare_output_dir, write_atomically
from attnpo.reporting.run_files import read_json
from attnpo.study.arms import COURSE, course_folders
from attnpo.study.cells import Cell, Experiment, cells_on_disk
from attnpo.study.suite import REFERENCES, Row, Suite
from attnpo.study.worlds import UNSEEN

if TYPE_CHECKING:
    from attnpo.gradients import GradientsResult
    from attnpo.reporting.reproduction import CoursePoint, MethodTable, RunCost, TrainedRow

TABLE_FILES = ("table.md", "table.csv", "table.json", "frontier.png", "report.html")
FILES = (*TABLE_FILES, "results.md")
FRONTIER_FILES = ("curves.md", "curves.json")
TITLE = "Methods for shorter reasoning, the same budget each"
UNSEEN_TITLE = "Templates that no training problem is of"


def write_table(
    experiment: Experiment, suite: Suite, asked: Sequence[Cell], command: str, gradients: GradientsResult | None = None
) -> list[Path]:
    """Write the table from all measured cells of the folder; that of templates never seen into a folder in it.

    Cells of a pilot's seeds count where only such are asked for, and are then not compared over their strength. Where
    a plan says what is compared, cells of seeds that are not asked for do not count.

    Args:
        experiment: where the cells are.
        suite: all rows; those that were not asked for count too where they are on disk.
        asked: the cells that should be there; missing ones are named.
        command: the command, to be told.
        gradients: credits of the same methods, to be held against the curves; None for none.

    Returns:
        The files written.

    Raises:
        DataError: there is no measured cell, the starting model is not measured, or a file is malformed.
    """
    folder = experiment.output_dir
    if not is_complete(folder / "base" / "evaluation.json"):
        raise DataError(f"{folder}: the starting model is not measured yet; leave --table out once, or copy base too")
    is_pilot = suite.is_pilot([cell.seed for cell in asked])
    planned = None if is_pilot or suite.frontier is None else suite
    seeds = {cell.seed for cell in asked}
    cells = [
        cell
        for cell in cells_on_disk(suite.rows, folder)
        if suite.is_pilot([cell.seed]) == is_pilot and (planned is None or cell.seed in seeds)
    ]
    missing = [cell.name for cell in asked if not experiment.done(cell)]
    main, files = _write_part(experiment, trained_rows(experiment, suite, cells), missing, command, planned, gradients)
    text = results_markdown(experiment, main, [file.name for file in files if file.suffix == ".png"])
    unseen = trained_rows(experiment, suite, cells, UNSEEN)
    if unseen and is_complete(folder / "base" / UNSEEN / "evaluation.json"):
        part, more = _write_part(experiment, unseen, missing, command, planned, gradients, UNSEEN)
        files += more
        text += f"\n## {UNSEEN_TITLE}\n\n{part.curves}{part.markdown}"
    write_atomically(folder / "results.md", text)
    return [*files, folder / "results.md"]


@dataclass(frozen=True)
class WrittenTable:
    """A table as it was written: how it was made, the table in Markdown, and before it what compares curves."""

    about: dict[str, Any]
    markdown: str
    curves: str = ""


def _write_part(
    experiment: Experiment,
    rows: Sequence[TrainedRow],
    missing: Sequence[str],
    command: str,
    suite: Suite | None,
    gradients: GradientsResult | None = None,
    part: str = "",
) -> tuple[WrittenTable, list[Path]]:
    """Write one measurement's table, `part` the measurement's folder in each cell's; curves as the suite plans them."""
    from attnpo.reporting.reproduction import (
        frontier_json,
        frontier_markdown,
        frontier_table,
        method_table,
        ranked,
        save_frontier_curves,
        save_method_frontiers,
        table_csv,
        table_json,
        table_markdown,
        write_method_page,
    )

    folder = prepare_output_dir(experiment.output_dir / part)
    budget = experiment.sizes.max_sampled_tokens or None
    table = method_table(experiment.output_dir / "base" / part, rows, REFERENCES, missing, budget=budget)
    about = table_about(experiment, table, command)
    paths = [folder / name for name in TABLE_FILES]
    markdown = table_markdown(table)
    write_atomically(paths[0], markdown)
    write_atomically(paths[1], table_csv(table))
    write_atomically(paths[2], table_json(table, about))
    plan = None if suite is None else suite.frontier
    frontier, curves = None, ""
    if suite is not None and plan is not None:
        frontier = frontier_table(experiment.output_dir / "base" / part, rows, plan, suite.family)
        if gradients is not None:
            frontier = ranked(frontier, gradients)
        curves = frontier_markdown(frontier, suite.family)
        more = [folder / name for name in FRONTIER_FILES]
        write_atomically(more[0], curves)
        write_atomically(more[1], frontier_json(frontier, suite.family, about))
        save_frontier_curves(frontier, paths[3])
    else:
        more = save_method_frontiers(table, paths[3])[1:]
    write_method_page(table, paths[4], UNSEEN_TITLE if part else TITLE, told(about), frontier)
    return WrittenTable(about, markdown, f"{curves}\n### All rows\n\n" if curves else ""), [*paths, *more]


def trained_rows(experiment: Experiment, suite: Suite, cells: Iterable[Cell], part: str = "") -> list[TrainedRow]:
    """Return the rows with their measured cells, in the order of the suite, seeds ascending.

    Args:
        experiment: where the cells are.
        suite: all rows.
        cells: cells that are measured.
        part: folder of the measurement in each cell's; cells that lack it are left out.

    Raises:
        DataError: a cell's log is missing or malformed.
    """
    from attnpo.reporting.reproduction import TrainedRow, read_cost

    by_row: dict[str, list[Cell]] = {}
    for cell in sorted(cells, key=lambda cell: cell.seed):
        if is_complete(cell.folder(experiment.output_dir) / part / "evaluation.json"):
            by_row.setdefault(cell.row.name, []).append(cell)
    found = []
    for row in suite.rows:
        trained = {cell.seed: cell.folder(experiment.output_dir) for cell in by_row.get(row.name, [])}
        if trained:
            costs = {seed: read_cost(folder, experiment.sizes.responses) for seed, folder in trained.items()}
            folders = {seed: folder / part for seed, folder in trained.items()}
            course = {seed: _course(experiment, folder, costs[seed]) for seed, folder in trained.items() if not part}
            # Another opening makes other prompts: the method needs it, so both may differ from the base's.
            allow = tuple(row.evaluation) + (("prompts",) if row.evaluation else ())
            found.append(
                TrainedRow(
                    row.name,
                    row.group,
                    folders,
                    costs,
                    about_row(row),
                    allow,
                    curve=row.curve,
                    strength=row.strength,
                    control_of=row.control_of,
                    course=course,
                )
            )
    return found


def _course(experiment: Experiment, folder: Path, cost: RunCost) -> tuple[CoursePoint, ...]:
    """Return a run's measured models on the way; empty unless all are there."""
    from attnpo.reporting.reproduction import CoursePoint, time_of_share

    budget, found = experiment.sizes.max_sampled_tokens, []
    for number, part in enumerate(course_folders(folder) if budget else [], start=1):
        time = time_of_share(cost, number / (COURSE + 1), budget)
        if time is not None and is_complete(part / "evaluation.json"):
            found.append(CoursePoint(time, part))
    return tuple(found) if len(found) == COURSE else ()


def about_row(row: Row) -> dict[str, Any]:
    """Return what a row is: method, paper, settings, what differs from the published ones."""
    preset, method = find_preset(row.method), method_class(row.method)
    paper = f"{method.paper}{f', arXiv {method.arxiv}' if method.arxiv else ''}"
    return {
        "method": row.method,
        "paper": paper,
        "settings": {**({} if preset is None else dict(preset.settings)), **row.settings},
        "heads": row.heads if row.needs_heads else None,
        "training": row.training,
        "evaluation": row.evaluation,
        "differs": row.differs,
    }


def table_about(experiment: Experiment, table: MethodTable, command: str) -> dict[str, Any]:
    """Return how the table was made: by what, where and with which sizes; cells of several machines name them all."""
    machines: dict[str, None] = {}
    commits: dict[str, None] = {}
    for row in table.trained:
        for seed in row.seeds:
            file = experiment.output_dir / row.name / f"seed-{seed}" / "run.json"
            about = read_json(file) if file.is_file() else {}
            machines |= {str(about["machine"]): None} if about.get("machine") else {}
            commits |= {str(about["commit"]): None} if about.get("commit") else {}
    sizes = experiment.sizes
    sampled = {name: value for name, value in experiment.world.evaluation.items() if name in ("temperature", "top_p")}
    return {
        "date": today(),
        "commit": ", ".join(commits) or commit() or "unknown",
        "command": command,
        "machine": "; ".join(machines) or machine(),
        "sizes": {
            "sampled tokens a run": f"{sizes.max_sampled_tokens:,}" if sizes.max_sampled_tokens else "no limit",
            "most optimizer steps": sizes.max_steps,
            "responses a step": sizes.responses,
            "T of the schedule": sizes.schedule_steps,
            "held-out problems": sizes.num_eval,
            **({"problems of templates never seen": sizes.num_unseen} if sizes.num_unseen else {}),
            **({"problems measured on while training": sizes.num_course} if sizes.num_course else {}),
            "problems that heads were found on": sizes.num_probe,
            **sizes.further,
            **{f"measured with {name}": value for name, value in {**sampled, **sizes.further_evaluation}.items()},
        },
    }


def told(about: dict[str, Any]) -> dict[str, Any]:
    """Return the same without nesting, for the page."""
    return {name: value for name, value in about.items() if name != "sizes"} | about["sizes"]


def results_markdown(experiment: Experiment, table: WrittenTable, figures: Sequence[str]) -> str:
    """Return date, commit, command, machine, sizes, table and figures."""
    about = table.about
    pictures = "\n".join(f"![Accuracy against tokens]({figure})" for figure in figures)
    sizes = ", ".join(f"{name} {value}" for name, value in about["sizes"].items())
    return (
        f"# {TITLE}\n\n"
        f"{about['date']}, commit `{about['commit']}`, {about['machine']}.\n\n"
        f"    {about['command']}\n\n"
        f"{experiment.world.title}; {sizes}.\n\n"
        f"{pictures}\n\n"
        f"{table.curves}{table.markdown}"
    )
