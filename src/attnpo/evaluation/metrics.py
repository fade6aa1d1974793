"""The measured quantities: each a ratio of two columns of a `ProblemTable`, pooled over problems.

What a user's counter counted is the metric `count:NAME`: a mean a response, or a share where it counted `(n, of)`.

**Token budgets.** From one run, a response counts as correct under a budget of b tokens if it is correct and at most b
tokens long, and spends min(length, b) tokens. That is what cutting every response off at b would leave: a response
that a cut-off would have hit is wrong, even where the model, told to stop and answer, would have answered right. So it
is a lower bound of what forced answers reach, and budgets above the run's own limit are not known at all.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from attnpo.evaluation.counting import OF
from attnpo.evaluation.passk import PASS_K, pass_at_k
from attnpo.evaluation.table import ProblemTable
from attnpo.metrics import COUNT, NUMBERED, split_name
from attnpo.statistics import Floats


@dataclass(frozen=True)
class Ratio:
    """Sum of column `top` over sum of column `bottom`, times `scale`."""

    top: str
    bottom: str = "responses"
    scale: float = 1.0


PLAIN_METRICS = {
    "accuracy": Ratio("correct"),
    "response_tokens": Ratio("response_tokens"),
    "think_tokens": Ratio("think_tokens"),
    "answer_tokens": Ratio("answer_tokens"),
    "steps": Ratio("steps"),
    "truncated": Ratio("truncated"),
    "confused_phrases": Ratio("confused_phrases"),
    "progression_phrases": Ratio("progression_phrases"),
    "summary_phrases": Ratio("summary_phrases"),
    "confused_per_1k_tokens": Ratio("confused_phrases", "response_tokens", 1000.0),
    "progression_per_1k_tokens": Ratio("progression_phrases", "response_tokens", 1000.0),
    "summary_per_1k_tokens": Ratio("summary_phrases", "response_tokens", 1000.0),
}
LABEL_METRICS = {
    "essential_steps": Ratio("essential_steps"),
    "redundant_steps": Ratio("redundant_steps"),
    "undecided_steps": Ratio("undecided_steps"),
    "redundant_token_share": Ratio("redundant_tokens", "think_tokens"),
}


def metric_names(table: ProblemTable) -> list[str]:
    """Return the metrics that a table holds."""
    known = [*PLAIN_METRICS, *(LABEL_METRICS if table.labelled else ()), *table.counted()]
    fewest = min(table.columns["responses"], default=0)
    numbered = {
        "pass": [k for k in PASS_K if k <= fewest],
        "majority": table.numbered("majority"),
        "accuracy": table.numbered("correct"),
        "tokens": table.numbered("tokens"),
    }
    return known + [f"{name}@{number}" for name in NUMBERED for number in numbered[name]]


def ratio_cells(table: ProblemTable, metrics: Sequence[str]) -> Floats:
    """Return (M, 2, C): numerator and denominator of each metric in each problem.

    A metric's value over some problems is the sum of its numerators over the sum of its denominators. `pass@k` and
    `majority@k` are means over problems, so their denominators are 1.

    Raises:
        KeyError: the table does not hold a metric.
    """
    return np.stack([_cells(table, metric) for metric in metrics]) if metrics else np.zeros((0, 2, len(table)))


def default_budgets(limit: int) -> tuple[int, ...]:
    """Return the token budgets of a run with this limit on a response.

    The powers of two from 512 to 32,768, as far as the limit reaches; under a limit too small for three of them, the
    six largest powers of two within it.
    """
    powers = [2**e for e in range(limit.bit_length()) if 2**e <= limit]
    usual = [b for b in powers if 512 <= b <= 32768]
    return tuple(usual if len(usual) >= 3 else powers[-6:])


def group_order(names: Iterable[str | None]) -> list[str]:
    """Return the different names in order: numbers by value, then words."""
    return sorted({name for name in names if name is not None}, key=difficulty_order)


def difficulty_order(difficulty: str) -> tuple[int, float, str]:
    """Sort key: numbers by value, then words."""
    try:
        return 0, float(difficulty), difficulty
    except ValueError:
        return 1, 0.0, difficulty


def _counted(table: ProblemTable, metric: str) -> Ratio:
    of = f"{OF}{metric.removeprefix(COUNT)}"
    return Ratio(metric, of) if of in table.columns else Ratio(metric)


def _cells(table: ProblemTable, metric: str) -> Floats:
    name, number = split_name(metric)
    if number is None:
        ratio = _counted(table, name) if name.startswith(COUNT) else (PLAIN_METRICS | LABEL_METRICS)[name]
        return np.stack([table.column(ratio.top), table.column(ratio.bottom) / ratio.scale])
    if name == "pass":
        top = pass_at_k(table.column("responses"), table.column("correct"), number)
        return np.stack([top, np.ones(len(table))])
    if name == "majority":
        return np.stack([table.column(metric), np.ones(len(table))])
    column = {"accuracy": "correct", "tokens": "tokens"}[name]
    return np.stack([table.column(f"{column}@{number}"), table.column("responses")])
