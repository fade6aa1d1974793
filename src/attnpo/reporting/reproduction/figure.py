"""Accuracy against tokens of many methods, each named at its point."""

from __future__ import annotations

from pathlib import Path

from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from attnpo.reporting.figures.canvas import MARKERS, plain_axes, save
from attnpo.reporting.frontier import Box, place_label
from attnpo.reporting.palette import ARMS_LIGHT
from attnpo.reporting.reproduction.marks import KIND_TITLES, KINDS, kind_of
from attnpo.reporting.reproduction.table import MethodTable

SIZE, DPI = (10.0, 6.4), 100.0
"""Inches of the figure, and the drawing units an inch that labels are placed in."""
LABEL_SIZE = 8.0
"""Points of a label."""


def save_method_frontier(table: MethodTable, path: Path) -> Path:
    """Draw accuracy against tokens with crosses of the intervals.

    Raises:
        OutputError: the file cannot be written.
    """
    figure = Figure(figsize=SIZE, dpi=DPI)
    axes = figure.add_axes((0.07, 0.09, 0.91, 0.83))
    plain_axes(axes, "tokens a response", "answered right (%)")
    points = []
    for row in table.rows:
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
            markersize=7,
            elinewidth=0.7,
            alpha=0.9,
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
    kinds = [kind for kind in KINDS if any(kind_of(row) == kind for row in table.rows)]
    handles = [
        Line2D([], [], linestyle="none", marker=MARKERS[KINDS.index(k)], color=ARMS_LIGHT[KINDS.index(k)])
        for k in kinds
    ]
    titles = [KIND_TITLES[kind] for kind in kinds]
    figure.legend(handles, titles, loc="upper center", ncols=len(kinds), frameon=False, fontsize=9)
    return save(figure, path)
