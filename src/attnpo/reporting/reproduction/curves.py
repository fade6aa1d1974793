"""Training curves of many methods: a small chart a row, its mean over seeds beside TLMRE's."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from attnpo.reporting.curves import MOST_POINTS, thinned
from attnpo.reporting.marks import ArmMark, key_mark
from attnpo.reporting.panels import Panel, Series, line_panel
from attnpo.reporting.reproduction.costs import SAMPLED
from attnpo.reporting.reproduction.marks import GROUPS
from attnpo.reporting.reproduction.table import MethodTable, TableRow
from attnpo.reporting.svg import axis_number, axis_percent

REFERENCE = "tlmre"
QUANTITIES = (("Response length", "attnpo/response_length", False), ("Answered right", "attnpo/accuracy", True))


def curve_groups(
    table: MethodTable, marks: Mapping[str, ArmMark]
) -> list[tuple[str, list[tuple[str, list[tuple[str, Panel]]]]]]:
    """Return quantity → group of rows → (row, chart); rows without a log are left out."""
    found = []
    for title, key, share in QUANTITIES:
        reference = next((mean_curve(row.logs, key) for row in table.trained if row.name == REFERENCE), None)
        groups: dict[str, list[tuple[str, Panel]]] = {}
        for row in table.trained:
            panel = _panel(row, marks[row.name], key, share, None if row.name == REFERENCE else reference)
            if panel is not None:
                groups.setdefault(GROUPS.get(row.group, row.group), []).append((row.name, panel))
        if groups:
            found.append((title, list(groups.items())))
    return found


def mean_curve(logs: Sequence[Sequence[Mapping[str, Any]]], key: str) -> tuple[list[float], list[float]] | None:
    """Return the mean over runs at each optimizer step that all runs logged, over thousands of sampled tokens.

    Where a log does not count tokens, over optimizer steps.

    Args:
        logs: one a run, ascending by step.
        key: what was logged.
    """
    by_step = [{line["step"]: line for line in log if key in line} for log in logs]
    if not by_step:
        return None
    steps = sorted(set.intersection(*(set(lines) for lines in by_step)))
    if len(steps) < 2:
        return None
    counted = all(SAMPLED in lines[step] for lines in by_step for step in steps)
    xs = [_mean([lines[step][SAMPLED] for lines in by_step]) / 1000 if counted else float(step) for step in steps]
    return thinned(xs, [_mean([lines[step][key] for lines in by_step]) for step in steps], MOST_POINTS)


def _panel(
    row: TableRow,
    mark: ArmMark,
    key: str,
    share: bool,
    reference: tuple[list[float], list[float]] | None,
) -> Panel | None:
    curve = mean_curve(row.logs, key)
    if curve is None:
        return None
    series = [Series(mark, tuple(curve[0]), tuple(curve[1]))]
    if reference is not None:
        series.insert(0, Series(key_mark(REFERENCE, 0), tuple(reference[0]), tuple(reference[1])))
    counted = any(SAMPLED in line for log in row.logs for line in log)
    return line_panel(
        row.name,
        series,
        axis_percent if share else axis_number,
        x_title="thousand sampled tokens" if counted else "optimizer step",
        ceiling=1.0 if share else None,
    )


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)
