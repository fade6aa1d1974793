"""The page of the comparison table: one file that loads nothing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from attnpo.evaluation.comparison import ComparisonRow
from attnpo.reporting.frontier import frontier_svg
from attnpo.reporting.marks import ArmMark
from attnpo.reporting.reproduction.curves import curve_groups
from attnpo.reporting.reproduction.exports import AUDIT, COSTS, GROUPS, TITLES, legend, shown
from attnpo.reporting.reproduction.figure import row_points
from attnpo.reporting.reproduction.marks import KIND_TITLES, KINDS, kind_of, row_mark
from attnpo.reporting.reproduction.table import MethodTable, TableRow
from attnpo.reporting.skeleton import environment, write_page
from attnpo.reporting.wording import MINUS, direction, plural, signed
from attnpo.statistics import Interval

LOWER_IS_BETTER = (
    "response_tokens",
    "redundant_steps",
    "extra_tokens",
    "extra_pass_tokens",
    "essential_punished",
    "redundant_rewarded",
)


@dataclass(frozen=True)
class Cell:
    """One number of a sortable table: empty words where it is not known."""

    value: float | None
    text: str = ""
    bounds: str = ""
    measurable: bool = True


@dataclass(frozen=True)
class Column:
    """One column: its title, and which way its best values lie."""

    title: str
    best: str


@dataclass(frozen=True)
class Line:
    """One row of a sortable table."""

    mark: ArmMark
    group: str
    runs: str
    cells: tuple[Cell, ...]


@dataclass(frozen=True)
class Grid:
    """A sortable table."""

    id: str
    title: str
    lead: str
    columns: tuple[Column, ...]
    lines: tuple[Line, ...]


def write_method_page(table: MethodTable, output: Path, title: str, about: Mapping[str, Any]) -> Path:
    """Write the page.

    Args:
        table: the numbers.
        output: the file to write.
        title: title of the page.
        about: how it was made: date, commit, command, machines, settings by name.

    Raises:
        OutputError: the file cannot be written.
    """
    return write_page(render_method_page(table, title, about), output)


def render_method_page(table: MethodTable, title: str, about: Mapping[str, Any]) -> str:
    """Return the page as HTML; see `write_method_page`."""
    marks = {row.name: row_mark(row) for row in table.rows}
    grids = [_differences(name, table, rows, marks) for name, rows in table.against.items()]
    audit = _audit(table, marks)
    grids += [audit] if audit.lines else []
    difficulties = _difficulties(table, marks)
    grids += [difficulties] if difficulties.columns else []
    curves = curve_groups(table, marks)
    points = row_points(table.rows)
    nav = [("result", "Result"), *((grid.id, grid.title) for grid in grids)]
    nav += [("training", "Training")] if curves else []
    return (
        environment()
        .get_template("methods.html.jinja")
        .render(
            title=title,
            headline=_headline(table),
            nav=[*nav, ("how", "How it was made")],
            chips=_chips(table),
            frontier={
                "wide": frontier_svg(points, 1120, 660, arrows=False),
                "narrow": frontier_svg(points, 380, 460, arrows=False),
            },
            main=_main(table, marks),
            grids=grids,
            curves=curves,
            missing=table.missing,
            caveats=table.caveats,
            legend=legend(table.level),
            rows=[(marks[row.name], GROUPS.get(row.group, row.group), row.about) for row in table.trained],
            about=about,
        )
    )


def _headline(table: MethodTable) -> str:
    """Return what AttnPO does beside TLMRE, or what is there where one of them is not."""
    beside = {row.name: row for row in table.against.get("tlmre", ())}
    trained = plural(len(table.trained), "method")
    if "attnpo" not in beside:
        return f"{trained} trained from the same model with the same number of sampled tokens."
    said, unknown = [], []
    for metric, unit, scale, digits in (
        ("accuracy", "points of accuracy", 100.0, 1),
        ("response_tokens", "tokens a response", 1.0, 1),
        ("redundant_steps", "redundant steps", 1.0, 2),
    ):
        difference = beside["attnpo"].differences.get(metric)
        if difference is None:
            continue
        if direction(difference):
            said.append(f"{signed(f'{abs(scale * difference.value):.{digits}f}', difference.value)} {unit}")
        else:
            unknown.append(unit.removeprefix("points of "))
    said += [f"no measurable difference in {' or '.join(unknown)}"] if unknown else []
    return f"AttnPO against TLMRE, at the same number of sampled tokens: {', '.join(said)}."


def _chips(table: MethodTable) -> list[tuple[ArmMark, str]]:
    """Return a button a kind, with the rows that it shows and hides."""
    found = []
    for index, kind in enumerate(KINDS):
        names = [row.name for row in table.rows if kind_of(row) == kind]
        if names:
            found.append((ArmMark(kind, " ".join(names), KIND_TITLES[kind], "", index), " ".join(names)))
    return found


def _main(table: MethodTable, marks: Mapping[str, ArmMark]) -> Grid:
    metrics = table.metrics()
    columns = [_column(metric, TITLES[metric][0]) for metric in metrics]
    columns.insert(2, Column("AES", "descending"))
    columns += [_column(name, title) for name, (title, *_) in COSTS.items()]
    lines = []
    for row in table.rows:
        cells = [_cell(row.comparison.values.get(m), TITLES[m][1], TITLES[m][2]) for m in metrics]
        cells.insert(2, _cell(row.comparison.efficiency, 1.0, 2))
        lines.append(_line(row, marks, [*cells, *_costs(row, COSTS)]))
    return Grid("result", "Result", "", tuple(columns), tuple(lines))


def _differences(name: str, table: MethodTable, rows: Sequence[ComparisonRow], marks: Mapping[str, ArmMark]) -> Grid:
    metrics = [m for m in table.metrics() if any(row.differences.get(m) is not None for row in rows)]
    titles = {m: "points" if m == "accuracy" else TITLES[m][0].removesuffix(", %") for m in metrics}
    columns = [_column(metric, titles[metric]) for metric in metrics]
    by_name = {row.name: row for row in table.rows}
    lines = [
        _line(
            by_name[row.name],
            marks,
            [_cell(row.differences.get(m), TITLES[m][1], TITLES[m][2], difference=True) for m in metrics],
        )
        for row in rows
    ]
    lead = f"Every row minus {name}, on the same problems. Grey differences have an interval that holds 0."
    return Grid(f"against-{name}", f"Against {name}", lead, tuple(columns), tuple(lines))


def _audit(table: MethodTable, marks: Mapping[str, ArmMark]) -> Grid:
    lines = []
    for row in table.trained:
        cells = _costs(row, AUDIT)
        if any(cell.value is not None for cell in cells):
            lines.append(_line(row, marks, cells))
    columns = tuple(_column(name, title) for name, (title, *_) in AUDIT.items())
    lead = (
        "How often an essential step got a negative advantage and a redundant one a positive one, mean over training."
    )
    return Grid("credit", "Credit", lead, columns, tuple(lines))


def _difficulties(table: MethodTable, marks: Mapping[str, ArmMark]) -> Grid:
    levels = list(table.rows[0].comparison.by_difficulty)
    columns = tuple(Column(level, "descending") for level in levels) if len(levels) > 1 else ()
    lines = []
    for row in table.rows:
        found = row.comparison.accuracy_by_difficulty
        lines.append(_line(row, marks, [_cell(found.get(level), 100.0, 1) for level in levels]))
    return Grid("difficulty", "Difficulty", "Answered right by difficulty, %.", columns, tuple(lines))


def _line(row: TableRow, marks: Mapping[str, ArmMark], cells: Sequence[Cell]) -> Line:
    runs = plural(row.comparison.runs, "run") if row.group != "base" else ""
    return Line(marks[row.name], GROUPS.get(row.group, row.group), runs, tuple(cells))


def _costs(row: TableRow, columns: Mapping[str, tuple[str, float, int]]) -> list[Cell]:
    if row.costs is None:
        return [Cell(None)] * len(columns)
    return [_cell(getattr(row.costs, name), scale, digits) for name, (_, scale, digits) in columns.items()]


def _column(metric: str, title: str) -> Column:
    return Column(title, "ascending" if metric in LOWER_IS_BETTER else "descending")


def _cell(interval: Interval | None, scale: float, digits: int, difference: bool = False) -> Cell:
    if interval is None:
        return Cell(None)
    value, _, bounds = shown(interval, digits, scale).partition(" ")
    bounds = bounds.strip("[]").replace(", ", " to ").replace("-", MINUS)
    text = value.replace("-", MINUS)
    if difference:
        text = signed(f"{abs(scale * interval.value):.{digits}f}", interval.value)
    return Cell(scale * interval.value, text, bounds, not difference or direction(interval) != 0)
