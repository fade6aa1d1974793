"""Accuracy against tokens of many methods, each named at its point."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from attnpo.reporting.figures import save_panels
from attnpo.reporting.frontier import Point, frontier_svg
from attnpo.reporting.marks import key_mark
from attnpo.reporting.panels import Panel
from attnpo.reporting.reproduction.marks import KIND_TITLES, KINDS, kind_of, row_mark
from attnpo.reporting.reproduction.table import MethodTable, TableRow

FIRST = ("base", "main", "newer", "attnpo")
"""Groups of the first picture: too many names in one cannot be read."""


def row_points(rows: Sequence[TableRow]) -> list[Point]:
    """Return the points of the rows whose accuracy and tokens are known."""
    found = ((row, row.comparison.values["response_tokens"], row.comparison.values["accuracy"]) for row in rows)
    return [Point(row_mark(row), x, y) for row, x, y in found if x is not None and y is not None]


def save_method_frontiers(table: MethodTable, path: Path) -> list[Path]:
    """Draw the methods, and where there are ablations, controls, bounds or options, these in a second picture.

    AttnPO, TLMRE and the starting model are in both.

    Args:
        table: the rows.
        path: the first picture; the second one's name ends in `-ablations`.

    Returns:
        The files written.

    Raises:
        OutputError: a file cannot be written.
    """
    first = [row for row in table.rows if row.group in FIRST]
    second = [row for row in table.rows if row.group not in FIRST or kind_of(row) in ("base", "attnpo", "tlmre")]
    paths = [_save(first, path)]
    if any(row.group not in FIRST for row in second):
        paths.append(_save(second, path.with_stem(f"{path.stem}-ablations")))
    return paths


def _save(rows: Sequence[TableRow], path: Path) -> Path:
    kinds = {kind_of(row) for row in rows}
    key = [key_mark(KIND_TITLES[kind], i) for i, kind in enumerate(KINDS) if kind in kinds]
    return save_panels([Panel("", frontier_svg(row_points(rows), 960, 600, arrows=False))], path, key=key)
