"""Accuracy against length of methods over their strength: a chart a method, beside the reference curves."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from attnpo.reporting.curve_panel import Axis, curve_panel
from attnpo.reporting.figures import save_panels
from attnpo.reporting.marks import ArmMark, key_mark
from attnpo.reporting.panels import Panel, Series
from attnpo.reporting.reproduction.frontier_table import Curve, FrontierTable
from attnpo.reporting.svg import axis_percent
from attnpo.significance import estimate
from attnpo.statistics import Interval

OWN, REFERENCES = 1, (2, 0, 3, 4)
"""Index of colour and shape of a method, and of the references."""


def save_frontier_curves(table: FrontierTable, path: Path) -> Path:
    """Draw the curves.

    Raises:
        OutputError: the file cannot be written.
    """
    return save_panels(frontier_panels(table), path)


def frontier_panels(table: FrontierTable) -> list[Panel]:
    """Return a chart for each curve of several strengths, the reference curves in it; bands are the intervals.

    Strengths that the noise put in the wrong order are one point. A band is the interval of the accuracy at a strength.
    All charts share their axes: the vertical one holds every curve and twice the margin of equality around them. What
    controls a curve is drawn beside that one, too.
    """
    by_name = {curve.name: curve for curve in table.curves}
    references = [by_name[name] for name in table.plan.against if name in by_name]
    drawn = [c for c in table.curves if c not in references and len(c.rows) > 1]
    every = {curve.name: _series(curve, key_mark(curve.name, OWN), table.level) for curve in table.curves}
    room = 2 * table.plan.margin
    heights = [y for series in every.values() for y in series.ys]
    limits = (max(min(heights) - room, 0.0), min(max(heights) + room, 1.0)) if heights else None
    lengths = [x for series in every.values() for x in series.xs]
    axis = Axis("tokens a response", limits=(min(lengths), max(lengths)) if lengths else None)
    panels = []
    for curve in drawn or references[:1]:
        controlled = by_name.get(curve.control_of)
        others = [*references, *([controlled] if controlled is not None and controlled not in references else [])]
        shown = [*others, curve] if curve not in others else others
        marks = [
            key_mark(c.name, OWN if c is curve and c not in others else REFERENCES[others.index(c) % len(REFERENCES)])
            for c in shown
        ]
        series = [replace(every[c.name], mark=mark) for c, mark in zip(shown, marks, strict=True)]
        title = f"{curve.name}, {len(curve.seeds)} runs"
        panels.append(curve_panel(title, series, axis, axis_percent, limits=limits, keyed=True))
    return panels


def _series(curve: Curve, mark: ArmMark, level: float) -> Series:
    """Return the points of a curve, shortest first."""
    points: list[tuple[float, float, Interval, str]] = []
    for block in curve.draws.blocks():
        tokens, accuracy = (d[:, block].mean(axis=1) for d in (curve.draws.tokens_DK, curve.draws.accuracy_DK))
        found = estimate(accuracy, curve.df) if curve.df else None
        value = float(accuracy[0])
        interval = Interval(value=value, low=value, high=value) if found is None else found.interval(level)
        said = ", ".join(curve.draws.strengths[k] for k in block)
        points.append((float(tokens[0]), value, interval, f"strength {said}"))
    xs, ys, intervals, notes = zip(*points, strict=True)
    return Series(mark, xs, ys, intervals, notes)
