"""What several samples a problem say: pass@k, majority vote, token budgets, tails; and numbers by subject.

Every function takes arms (`run_folder.Arm(name, evaluation)`) and their marks (`marks.arm_marks(arms)`); what an
evaluation does not hold is left out.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from operator import attrgetter

from attnpo.evaluation.metrics import group_order
from attnpo.evaluation.result import Summary, Tail
from attnpo.metrics import COUNT, METRICS, Metric, metric_of
from attnpo.reporting.curve_panel import Axis, curve_panel
from attnpo.reporting.marks import ArmMark
from attnpo.reporting.panels import Panel, Series
from attnpo.reporting.run_folder import Arm
from attnpo.reporting.svg import axis_number, axis_percent
from attnpo.reporting.wording import count
from attnpo.statistics import Interval
from attnpo.tables import NOTHING, Column, Number, Row, Table, number_of

QUANTILES = (("median", "median"), ("p90", "90 %"), ("p95", "95 %"), ("p99", "99 %"), ("max", "longest"))

MORE = (
    "think_tokens",
    "answer_tokens",
    "steps",
    "truncated",
    "redundant_token_share",
    "confused_per_1k_tokens",
    "progression_per_1k_tokens",
    "summary_per_1k_tokens",
)
"""What the main table leaves out."""
Numbered = Mapping[int, Interval]


def pass_at_k(summary: Summary) -> Numbered:
    """Return pass@k by k."""
    return summary.pass_at_k


def majority_at_k(summary: Summary) -> Numbered:
    """Return the accuracy of the majority vote by number of votes; empty where nobody voted."""
    return summary.majority_at_k or {}


def budget_accuracy(summary: Summary) -> Numbered:
    """Return accuracy by token budget."""
    return {budget: point.accuracy for budget, point in summary.budgets.items()}


def measure_panels(arms: Sequence[Arm], marks: Mapping[str, ArmMark]) -> list[Panel]:
    """Return the charts of pass@k, majority vote, token budgets and tails that have something to show."""
    return [
        panel
        for panel in (
            numbered_panel("pass@k", arms, marks, pass_at_k, "k", "at least one of k samples right"),
            numbered_panel(
                "Majority vote", arms, marks, majority_at_k, "votes", "the most frequent of n answers right"
            ),
            numbered_panel(
                "Accuracy within a token budget",
                arms,
                marks,
                budget_accuracy,
                "tokens",
                "right and no longer than the budget",
                _spent,
            ),
            tail_panel(arms, marks),
        )
        if panel is not None
    ]


def numbered_panel(
    title: str,
    arms: Sequence[Arm],
    marks: Mapping[str, ArmMark],
    read: Callable[[Summary], Numbered],
    axis_title: str,
    note: str = "",
    more: Callable[[Summary, int], str] | None = None,
) -> Panel | None:
    """Return shares over a doubling number (samples, tokens); None with fewer than two numbers.

    Args:
        title: what is drawn.
        arms: the arms.
        marks: their marks.
        read: what to draw of a summary, by number.
        axis_title: what the numbers count.
        note: small words behind the title.
        more: what else the pointer shows of an arm at a number.
    """
    series = []
    for arm in arms:
        if arm.evaluation is None:
            continue
        summary = arm.evaluation.overall
        values = dict(sorted(read(summary).items()))
        if values:
            series.append(
                Series(
                    marks[arm.name],
                    tuple(float(k) for k in values),
                    tuple(i.value for i in values.values()),
                    tuple(values.values()),
                    notes=() if more is None else tuple(more(summary, k) for k in values),
                )
            )
    numbers = sorted({x for s in series for x in s.xs})
    if len(numbers) < 2:
        return None
    axis = Axis(axis_title, tuple((x, axis_number(x)) for x in numbers), log=True)
    return curve_panel(title, series, axis, axis_percent, floor=0.0, ceiling=1.0, note=note)


def _spent(summary: Summary, budget: int) -> str:
    return f"  {count(summary.budgets[budget].tokens.value)} tokens spent"


def tail_panel(arms: Sequence[Arm], marks: Mapping[str, ArmMark]) -> Panel | None:
    """Return response length at the median and in the tail; None where no arm knows it."""
    series = []
    for arm in arms:
        tail = _tail(arm)
        if tail is not None:
            values = [float(getattr(tail, name)) for name, _ in QUANTILES]
            series.append(Series(marks[arm.name], tuple(float(i) for i in range(len(values))), tuple(values)))
    if not series:
        return None
    names = tuple((float(i), name) for i, (_, name) in enumerate(QUANTILES))
    return curve_panel(
        "How long responses get",
        series,
        Axis("share of responses that are shorter", names),
        exact=lambda value: f"{value:,.0f} tokens",
        floor=0.0,
        note="tokens",
    )


def _tail(arm: Arm) -> Tail | None:
    return None if arm.evaluation is None else arm.evaluation.overall.tails.get("response_tokens")


def number_table(arms: Sequence[Arm], marks: Mapping[str, ArmMark]) -> Table:
    """Return every quantity that the main table leaves out, one row each; rows without a value fall out.

    Args:
        arms: arms with evaluations.
        marks: their marks.
    """
    summaries = {arm.name: arm.evaluation.overall for arm in arms if arm.evaluation is not None}

    def row(head: str, metric: Metric, read: Callable[[Summary], Interval | None]) -> Row:
        return Row(head, tuple(Number(read(summary), metric) for summary in summaries.values()))

    rows = [row(METRICS[m].words or m, METRICS[m], attrgetter(m)) for m in MORE]
    for name in dict.fromkeys(name for s in summaries.values() for name in s.counts):
        metric = metric_of(f"{COUNT}{name}")
        rows.append(row(metric.title, metric, lambda s, name=name: s.counts.get(name)))  # type: ignore[misc]
    for title, kind, read in (
        ("pass@{}", "pass", pass_at_k),
        ("majority vote of {}", "majority", majority_at_k),
        ("right within {:,} tokens", "accuracy", budget_accuracy),
    ):
        for k in sorted({k for s in summaries.values() for k in read(s)}):
            rows.append(row(title.format(k), METRICS[kind], lambda s, read=read, k=k: read(s).get(k)))  # type: ignore[misc]
    for field, name in QUANTILES:
        tails = [s.tails.get("response_tokens") for s in summaries.values()]
        title = f"response tokens, {name}" if field in ("median", "max") else f"response tokens, {name} are shorter"
        rows.append(Row(title, tuple(NOTHING if t is None else f"{getattr(t, field):,.0f}" for t in tails)))
    kept = [r for r in rows if any(c != NOTHING if isinstance(c, str) else c.interval is not None for c in r.cells)]
    heads = (Column("quantity"), *(Column(marks[name].title, name) for name in summaries))
    return Table(heads, tuple(kept))


def group_table(kind: str, arms: Sequence[Arm], marks: Mapping[str, ArmMark]) -> Table:
    """Return accuracy and length of every arm by `difficulty` or `subject`; without rows where none is known.

    Args:
        kind: what the problems are grouped by.
        arms: arms with evaluations.
        marks: their marks.
    """
    parts = {arm.name: getattr(arm.evaluation, f"by_{kind}") for arm in arms}
    names = group_order(name for found in parts.values() for name in found)
    return pair_table(kind, parts, names, marks)


def pair_table(
    head: str, parts: Mapping[str, Mapping[str, Summary]], names: Sequence[str], marks: Mapping[str, ArmMark]
) -> Table:
    """Return accuracy and length of each arm in each part.

    Args:
        head: what the parts are.
        parts: arm → part → summary; an arm may lack parts.
        names: the parts, in order.
        marks: the arms' marks.
    """
    heads = [c for arm in parts for c in (Column(marks[arm].title, arm, "answered right"), Column("", arm, "tokens"))]
    rows = [
        Row(
            name,
            tuple(
                number_of(metric, getattr(found[name], metric) if name in found else None)
                for found in parts.values()
                for metric in ("accuracy", "response_tokens")
            ),
        )
        for name in names
    ]
    return Table((Column(head), *heads), tuple(rows))
