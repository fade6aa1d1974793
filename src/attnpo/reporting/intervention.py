"""The intervention as it is shown: steps deleted by score, answers generated again."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from markupsafe import Markup

from attnpo.discovery.evidence import Condition, InterventionResult
from attnpo.reporting.bar_panel import Bar, BarGroup, bar_chart
from attnpo.reporting.marks import ArmMark, key_mark
from attnpo.reporting.wording import direction, percent, signed, signed_bounds
from attnpo.statistics import Interval
from attnpo.tables import NOTHING, Column, Row, Table, number_of

CONDITION_MARKS = {
    "untouched": key_mark("nothing", 3),
    "lowest": key_mark("lowest-scored", 1),
    "random": key_mark("random", 0),
    "highest": key_mark("highest-scored", 2),
}
COLUMNS = (
    Column("removed"),
    Column("answered right"),
    Column("points", note="against nothing removed"),
    Column("points", note="against random steps"),
)


def amount_words(amount: str) -> str:
    """Return an amount with the place of the space that figures have, `20 %`."""
    return amount.replace("%", "\u00a0%")


@dataclass(frozen=True)
class InterventionView:
    """The intervention as it is shown: a sentence, bars for wide and narrow screens with their key, a table."""

    sentence: str
    wide: Markup
    narrow: Markup
    marks: tuple[ArmMark, ...]
    table: Table
    row_marks: Mapping[str, ArmMark]
    unfinished: str


def bar_groups(result: InterventionResult) -> list[BarGroup]:
    """Return the bars: untouched traces first, then one group an amount, conditions in the order of the file."""
    start = untouched(result)
    first = [] if start is None else [BarGroup("as it was", (Bar(CONDITION_MARKS["untouched"], start.accuracy),))]
    return first + [
        BarGroup(
            f"{amount_words(amount)} removed",
            tuple(
                Bar(CONDITION_MARKS[c.name], c.accuracy, _deleted(c)) for c in result.conditions if c.amount == amount
            ),
        )
        for amount in result.amounts
    ]


def untouched(result: InterventionResult) -> Condition | None:
    """Return the condition that removed nothing, None where it was not measured."""
    return next((c for c in result.conditions if c.name == "untouched"), None)


def intervention_view(result: InterventionResult) -> InterventionView:
    """Return an intervention as it is shown."""
    start = untouched(result)
    level = None if start is None else start.accuracy
    drawings = [
        bar_chart(
            "Answers right after removing steps",
            bar_groups(result),
            level=level,
            width=width,
            height=height,
        )
        for width, height in ((860.0, 300.0), (370.0, 280.0))
    ]
    rows = [_row(c) for c in result.conditions]
    names = dict.fromkeys(c.name for c in result.conditions)
    cut = max((c.unfinished for c in result.conditions), default=0.0)
    return InterventionView(
        sentence=intervention_sentence(result),
        wide=drawings[0],
        narrow=drawings[1],
        marks=tuple(CONDITION_MARKS[name] for name in names),
        table=Table(COLUMNS, tuple(rows)),
        row_marks={
            row.head: replace(CONDITION_MARKS[c.name], title=row.head)
            for row, c in zip(rows, result.conditions, strict=True)
        },
        unfinished=f"Up to {percent(cut)} of the answers of a condition were cut at the token limit." if cut else "",
    )


def intervention_sentence(result: InterventionResult) -> str:
    """Return what the intervention showed, claiming no more than the intervals carry."""
    sentences = []
    for amount in result.amounts:
        by_name = {c.name: c for c in result.conditions if c.amount == amount}
        said = []
        lowest, highest = by_name.get("lowest"), by_name.get("highest")
        if lowest is not None and lowest.difference is not None:
            said.append(f"the lowest-scored steps {_costs(lowest.difference)}")
        if highest is not None and highest.difference is not None:
            text = f"the highest-scored {_costs(highest.difference)}"
            if highest.against_random is not None:
                way = direction(highest.against_random)
                text += {
                    -1: ", more than random steps of the same length",
                    0: ", not measurably more than random steps of the same length",
                    1: ", less than random steps of the same length",
                }[way]
            said.append(text)
        if said:
            sentences.append(f"Removing {amount_words(amount)}: {'; '.join(said)}.")
    return " ".join(sentences)


def _costs(difference: Interval) -> str:
    points = 100 * difference.value
    change = f"{signed(f'{abs(points):.1f}', points)} points, {signed_bounds(difference, 100)}"
    words = {-1: "cost accuracy", 0: "cost nothing measurable", 1: "raise accuracy"}
    return f"{words[direction(difference)]} ({change})"


def _deleted(c: Condition) -> str:
    return f"{c.deleted_tokens:,.1f} tokens, {c.deleted_steps:,.1f} steps a trace" if c.deleted_tokens else ""


def _row(c: Condition) -> Row:
    title = CONDITION_MARKS[c.name].title
    differences = [
        NOTHING if d is None else number_of("accuracy", d, difference=True) for d in (c.difference, c.against_random)
    ]
    head = f"{title}, {amount_words(c.amount)}" if c.amount else title
    return Row(head, (number_of("accuracy", c.accuracy), *differences), _deleted(c))
