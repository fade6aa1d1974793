"""What training logged, a panel a quantity."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from attnpo.errors import DataError
from attnpo.reporting.curves import MOST_POINTS, QUANTITIES, Quantity, thinned
from attnpo.reporting.figures.canvas import plain_axes, save
from attnpo.reporting.palette import ARMS_LIGHT

MOST_PANELS = 6


def save_training_curves(log: Sequence[Mapping[str, Any]], path: Path) -> Path:
    """Draw what training logged against optimizer steps, the first quantities that were logged at two steps or more.

    Args:
        log: log lines with their `step`.
        path: the file to write.

    Raises:
        DataError: no quantity was logged at two steps.
        OutputError: the file cannot be written.
    """
    curves = [(quantity, points) for quantity in QUANTITIES if len(points := _points(log, quantity)) > 1][:MOST_PANELS]
    if not curves:
        raise DataError("training curves: nothing was logged at two steps or more; train longer, or set logging_steps")
    columns = min(3, len(curves))
    rows = math.ceil(len(curves) / columns)
    figure = Figure(figsize=(0.6 + 3.2 * columns, 0.4 + 2.3 * rows), layout="constrained")
    for place, (quantity, points) in enumerate(curves):
        axes = figure.add_subplot(rows, columns, place + 1)
        plain_axes(axes, "optimizer step", "")
        xs, ys = thinned(sorted(points), [points[x] for x in sorted(points)], MOST_POINTS)
        axes.plot(xs, ys, color=ARMS_LIGHT[1], linewidth=1.4)
        axes.set_title(f"{quantity.title}\n{quantity.note}" if quantity.note else quantity.title, fontsize=9)
        if quantity.share:
            axes.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
    return save(figure, path)


def _points(log: Sequence[Mapping[str, Any]], quantity: Quantity) -> dict[float, float]:
    key = next((key for key in quantity.keys if any(key in row for row in log)), None)
    if key is None:
        return {}
    return {
        float(row["step"]): float(row[key]) for row in log if "step" in row and math.isfinite(row.get(key, math.nan))
    }
