"""What several samples a problem say: pass@k, majority vote, token budgets, tails; and numbers by subject.

Every function takes arms (`run_folder.Arm(name, evaluation)`) and their marks (`marks.arm_marks(arms)`); what an
evaluation does not hold is left out.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from attnpo.evaluation.result import Summary, Tail
from attnpo.reporting.curve_panel import Axis, curve_panel
from attnpo.reporting.marks import ArmMark
from attnpo.reporting.panels import Panel, Series
from attnpo.reporting.run_folder import Arm
from attnpo.reporting.svg import axis_number, axis_percent
from attnpo.reporting.wording import IntervalLike, bounds, count, percent

QUANTILES = (("median", "median"), ("p90", "90 %"), ("p95", "95 %"), ("p99", "99 %"), ("max", "longest"))

Numbered = Mapping[int, IntervalLike]


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


@dataclass(frozen=True)
class NumberRow:
    """One quantity of the table of all numbers: a cell (value, interval) for each arm; empty where unknown."""

    name: str
    cells: tuple[tuple[str, str], ...]


def number_rows(arms: Sequence[Arm]) -> list[NumberRow]:
    """Return every quantity that the main table leaves out, one row each; rows without a value fall out.

    Args:
        arms: arms with evaluations.
    """
    summaries = [arm.evaluation.overall for arm in arms if arm.evaluation is not None]
    quantities: list[tuple[str, Callable[[Summary], IntervalLike | None], bool]] = [
        ("think tokens", lambda s: s.think_tokens, False),
        ("answer tokens", lambda s: s.answer_tokens, False),
        ("steps a response", lambda s: s.steps, False),
        ("cut at the token limit", lambda s: s.truncated, True),
        ("share of think tokens in redundant steps", lambda s: s.redundant_token_share, True),
        ("confused phrases in 1,000 tokens", lambda s: s.confused_per_1k_tokens, False),
        ("progression phrases in 1,000 tokens", lambda s: s.progression_per_1k_tokens, False),
        ("summary phrases in 1,000 tokens", lambda s: s.summary_per_1k_tokens, False),
    ]
    rows = [NumberRow(name, tuple(_cell(read(s), share) for s in summaries)) for name, read, share in quantities]
    for name in dict.fromkeys(name for s in summaries for name in s.counts):
        rows.append(NumberRow(name.replace("_", " "), tuple(_cell(s.counts.get(name), False) for s in summaries)))
    for title, read in (("pass@{}", pass_at_k), ("majority vote of {}", majority_at_k)):
        numbers = sorted({k for s in summaries for k in read(s)})
        rows += [NumberRow(title.format(k), tuple(_cell(read(s).get(k), True) for s in summaries)) for k in numbers]
    for budget in sorted({b for s in summaries for b in s.budgets}):
        cells = tuple(_cell(budget_accuracy(s).get(budget), True) for s in summaries)
        rows.append(NumberRow(f"right within {budget:,} tokens", cells))
    for field, name in QUANTILES:
        values = [None if (t := s.tails.get("response_tokens")) is None else getattr(t, field) for s in summaries]
        title = f"response tokens, {name}" if field in ("median", "max") else f"response tokens, {name} are shorter"
        rows.append(NumberRow(title, tuple(("", "") if v is None else (f"{v:,.0f}", "") for v in values)))
    return [row for row in rows if any(value for value, _ in row.cells)]


def _cell(interval: IntervalLike | None, share: bool) -> tuple[str, str]:
    if interval is None:
        return "", ""
    return (percent(interval.value) if share else count(interval.value)), bounds(interval, share)


@dataclass(frozen=True)
class SubjectRow:
    """One subject of the table: for every arm its summary or None."""

    name: str
    cells: tuple[Summary | None, ...]


def subject_rows(arms: Sequence[Arm]) -> list[SubjectRow]:
    """Return one row a subject, by name; empty where no evaluation knows subjects.

    Args:
        arms: arms with evaluations.
    """
    evaluations = [arm.evaluation for arm in arms if arm.evaluation is not None]
    names = sorted({name for e in evaluations for name in e.by_subject})
    return [SubjectRow(name, tuple(e.by_subject.get(name) for e in evaluations)) for name in names]
