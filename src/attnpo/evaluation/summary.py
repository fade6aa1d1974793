"""From sums of problems to numbers with intervals."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from rich.progress import Progress

from attnpo.evaluation.metrics import group_order, metric_names, ratio_cells
from attnpo.evaluation.result import BudgetPoint, Summary, Tail
from attnpo.evaluation.tally import LENGTHS, TallyResult
from attnpo.metrics import COUNT, NUMBERED, split_name
from attnpo.progress import bar
from attnpo.statistics import Interval, ratio_intervals


def summarize(measured: TallyResult, level: float = 0.95, resamples: int = 2000, seed: int = 0) -> Summary:
    """Return the numbers of at least one response, with intervals by bootstrap over problems.

    All responses to a problem are drawn together, so the intervals respect that they are not independent.
    """
    table = measured.table
    names = metric_names(table)
    cells_M2C = ratio_cells(table, names)
    found = ratio_intervals(cells_M2C[:, 0].T, cells_M2C[:, 1].T, None, level, resamples, seed)
    intervals = dict(zip(names, found, strict=True))
    numbered: dict[str, dict[int, Interval]] = {name: {} for name in NUMBERED}
    plain: dict[str, Interval | None] = {}
    counts: dict[str, Interval] = {}
    for metric, interval in intervals.items():
        name, number = split_name(metric)
        if name.startswith(COUNT):
            if interval is not None:
                counts[name.removeprefix(COUNT)] = interval
        elif number is None:
            plain[name] = interval
        elif interval is not None:
            numbered[name][number] = interval
    return Summary.model_validate(
        {
            "num_responses": int(table.column("responses").sum()),
            "num_problems": len(table),
            **plain,
            "tails": {name: _tail(measured, i) for i, name in enumerate(LENGTHS)},
            "pass_at_k": numbered["pass"],
            "majority_at_k": numbered["majority"] or None,
            "budgets": {
                budget: BudgetPoint(accuracy=accuracy, tokens=numbered["tokens"][budget])
                for budget, accuracy in numbered["accuracy"].items()
            },
            "counts": counts,
        }
    )


def summarize_by(
    groups: Sequence[str | None],
    measured: TallyResult,
    level: float = 0.95,
    resamples: int = 2000,
    seed: int = 0,
    progress: Progress | None = None,
    description: str = "summing up",
) -> dict[str, Summary]:
    """Return one summary a group, numbers in numerical order before words.

    Args:
        groups: the group of each problem (its difficulty, its subject), None where it has none.
        measured: what the tally found.
        level: coverage of the intervals.
        resamples: bootstrap resamples.
        seed: seed of the resamples.
        progress: display, or None.
        description: text of the progress bar.
    """
    names, summaries = group_order(groups), {}
    if not names:
        return {}
    with bar(progress, description, len(names)) as advance:
        for name in names:
            rows = [row for row, group in enumerate(groups) if group == name]
            summaries[name] = summarize(measured.select(rows), level, resamples, seed)
            advance()
    return summaries


def _tail(measured: TallyResult, column: int) -> Tail:
    lengths_N = measured.lengths_N3[:, column]
    median, p90, p95, p99 = np.quantile(lengths_N, [0.5, 0.9, 0.95, 0.99]).tolist()
    return Tail(median=median, p90=p90, p95=p95, p99=p99, max=int(lengths_N.max()))
