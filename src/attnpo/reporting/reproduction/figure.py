"""Accuracy against tokens of many methods, each named at its point."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from matplotlib.colors import to_rgba
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from attnpo.reporting.figures.canvas import MARKERS, plain_axes, save
from attnpo.reporting.frontier import Box, place_label
from attnpo.reporting.palette import ARMS_LIGHT
from attnpo.reporting.reproduction.marks import KIND_TITLES, KINDS, kind_of
from attnpo.reporting.reproduction.table import MethodTable, TableRow

SIZE, DPI = (10.0, 6.4), 100.0
"""Inches of the figure, and the drawing units an inch that labels are placed in."""
LABEL_SIZE = 8.0
"""Points of a label."""
FIRST = ("base", "main", "attnpo")
"""Groups of the first picture: too many names in one cannot be read."""


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
    paths = [save_method_frontier(first, path)]
    if any(row.group not in FIRST for row in second):
        paths.append(save_method_frontier(second, path.with_stem(f"{path.stem}-ablations")))
    return paths


def save_method_frontier(rows: Sequence[TableRow], path: Path) -> Path:
    """Draw accuracy against tokens with crosses of the intervals.

    Raises:
        OutputError: the file cannot be written.
    """
    figure = Figure(figsize=SIZE, dpi=DPI)
    axes = figure.add_axes((0.07, 0.09, 0.91, 0.83))
    plain_axes(axes, "tokens a response", "answered right (%)")
    points = []
    for row in rows:
        tokens, accuracy = row.comparison.values["response_tokens"], row.comparison.values["accuracy"]
        if tokens is None or accuracy is None:
            continue
        index = KINDS.index(kind_of(row))
        axes.errorbar(
            tokens.value,
            100 * accuracy.value,
            xerr=[[tokens.value - tokens.low], [tokens.high - tokens.value]],
            yerr=[[100 * (accuracy.value - accuracy.low)], [100 * (accuracy.high - accuracy.value)]],
            fmt=MARKERS[index],
            color=ARMS_LIGHT[index],
            ecolor=to_rgba(ARMS_LIGHT[index], 0.3),  # many rows' intervals cross: names and marks stay legible
            markersize=7,
            elinewidth=0.7,
        )
        points.append((row.name, index, tokens.value, 100 * accuracy.value))
    axes.margins(0.06)
    axes.autoscale_view()
    to_pixels = axes.transData.transform
    height = SIZE[1] * DPI
    # Labels are placed in drawing units with y downwards, as on the page.
    places = [(x, height - y) for x, y in (to_pixels(point[2:]) for point in points)]
    boxes: list[Box] = [(x - 7, y - 7, x + 7, y + 7) for x, y in places]
    frame = (0.07 * SIZE[0] * DPI, 0.08 * height, 0.98 * SIZE[0] * DPI, 0.91 * height)
    character = LABEL_SIZE * DPI / 72 * 0.56
    for (name, index, *_), (px, py) in zip(points, places, strict=True):
        x, y, anchor = place_label(name, px, py, boxes, frame, character)
        align = {"start": "left", "middle": "center", "end": "right"}[anchor]
        axes.annotate(
            name,
            (x * 72 / DPI, (height - y) * 72 / DPI),
            xycoords="figure points",
            ha=align,
            va="baseline",
            fontsize=LABEL_SIZE,
            color=ARMS_LIGHT[index],
        )
    kinds = [kind for kind in KINDS if any(kind_of(row) == kind for row in rows)]
    handles = [
        Line2D([], [], linestyle="none", marker=MARKERS[KINDS.index(k)], color=ARMS_LIGHT[KINDS.index(k)])
        for k in kinds
    ]
    titles = [KIND_TITLES[kind] for kind in kinds]
    figure.legend(handles, titles, loc="upper center", ncols=len(kinds), frameon=False, fontsize=9)
    return save(figure, path)
