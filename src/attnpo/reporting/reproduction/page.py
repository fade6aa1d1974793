"""The page of the comparison table: one file that loads nothing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from attnpo.errors import listed
from attnpo.metrics import METRICS
from attnpo.reporting.frontier import frontier_svg
from attnpo.reporting.marks import ArmMark
from attnpo.reporting.reproduction.curves import curve_groups
from attnpo.reporting.reproduction.exports import (
    MASS_NOTE,
    audit_table,
    difference_table,
    difficulty_table,
    legend,
    main_table,
    mass_table,
)
from attnpo.reporting.reproduction.figure import row_points
from attnpo.reporting.reproduction.frontier_exports import frontier_sections
from attnpo.reporting.reproduction.frontier_picture import frontier_panels
from attnpo.reporting.reproduction.frontier_table import FrontierTable
from attnpo.reporting.reproduction.marks import GROUPS, KIND_TITLES, KINDS, kind_of, row_mark
from attnpo.reporting.reproduction.table import MethodTable
from attnpo.reporting.skeleton import environment, write_page
from attnpo.reporting.wording import plural
from attnpo.tables import Number, Table

AUDITED = "How often an essential step got a negative advantage and a redundant one a positive one, mean over training."


@dataclass(frozen=True)
class Grid:
    """A sortable table under its own heading."""

    id: str
    title: str
    lead: str
    table: Table


def write_method_page(
    table: MethodTable, output: Path, title: str, about: Mapping[str, Any], frontier: FrontierTable | None = None
) -> Path:
    """Write the page.

    Args:
        table: the numbers.
        output: the file to write.
        title: title of the page.
        about: how it was made: date, commit, command, machines, settings by name.
        frontier: the rows as curves over strength, where that was planned.

    Raises:
        OutputError: the file cannot be written.
    """
    return write_page(render_method_page(table, title, about, frontier), output)


def render_method_page(
    table: MethodTable, title: str, about: Mapping[str, Any], frontier: FrontierTable | None = None
) -> str:
    """Return the page as HTML; see `write_method_page`."""
    marks = {row.name: row_mark(row) for row in table.rows}
    grids = [
        Grid(
            f"against-{name}",
            f"Against {name}",
            f"Every row minus {name}, on the same problems. Grey differences have an interval that holds 0.",
            difference_table(table, rows),
        )
        for name, rows in table.differences.items()
    ]
    if frontier is not None:
        grids[:0] = [
            Grid(f"curves-{number}", section.title, section.note, section.table)
            for number, section in enumerate(frontier_sections(frontier), start=1)
        ]
    grids.append(Grid("credit", "Credit", AUDITED, audit_table(table)))
    grids.append(Grid("mass", "Advantage taken away and put on, %", MASS_NOTE, mass_table(table)))
    grids.append(Grid("difficulty", "Difficulty", "Answered right by difficulty, %.", difficulty_table(table)))
    grids = [grid for grid in grids if grid.table.rows]
    curves = curve_groups(table, marks)
    points = row_points(table.rows)
    nav = [("result", "Result"), *((grid.id, grid.title) for grid in grids if not grid.id.startswith("curves"))]
    panels = [] if frontier is None else frontier_panels(frontier)
    nav[1:1] = [("curves", "Curves")] if panels else []
    nav += [("training", "Training")] if curves else []
    return (
        environment()
        .get_template("methods.html.jinja")
        .render(
            title=title,
            marks=marks,
            headline=_headline(table),
            nav=[*nav, ("how", "How it was made")],
            chips=_chips(table),
            frontier={
                "wide": frontier_svg(points, 1120, 660, arrows=False),
                "narrow": frontier_svg(points, 380, 460, arrows=False),
            },
            main=main_table(table),
            grids=grids,
            panels=panels,
            curves=curves,
            missing=listed(table.missing),
            caveats=table.caveats,
            legend=legend(table),
            rows=[(marks[row.name], GROUPS.get(row.group, row.group), row.about) for row in table.trained],
            about=about,
        )
    )


def _headline(table: MethodTable) -> str:
    """Return what AttnPO does beside TLMRE, or what is there where one of them is not."""
    beside = {row.name: row for row in table.against.get("tlmre", ())}
    trained = plural(len(table.trained), "method")
    alike = "sampled tokens" if table.budget else "optimizer steps"
    if "attnpo" not in beside:
        return f"{trained} trained from the same model with the same number of {alike}."
    said, unknown = [], []
    for metric, unit in (
        ("accuracy", "points of accuracy"),
        ("response_tokens", "tokens a response"),
        ("redundant_steps", "redundant steps"),
    ):
        difference = Number(beside["attnpo"].differences.get(metric), METRICS[metric], difference=True)
        if difference.measurable:
            said.append(f"{difference.html()[0]} {unit}")
        elif difference.interval is not None:
            unknown.append(unit.removeprefix("points of "))
    said += [f"no measurable difference in {' or '.join(unknown)}"] if unknown else []
    return f"AttnPO against TLMRE, at the same number of {alike}: {', '.join(said)}."


def _chips(table: MethodTable) -> list[tuple[ArmMark, str]]:
    """Return a button a kind, with the rows that it shows and hides."""
    found = []
    for index, kind in enumerate(KINDS):
        names = [row.name for row in table.rows if kind_of(row) == kind]
        if names:
            found.append((ArmMark(kind, " ".join(names), KIND_TITLES[kind], "", index), " ".join(names)))
    return found
