"""One table for terminal, Markdown, CSV and HTML: text and numbers with their intervals."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from attnpo.metrics import METRICS, Metric, metric_of

if TYPE_CHECKING:
    import rich.table
    from rich.text import Text

    from attnpo.statistics import Interval

NOTHING = "–"
MINUS = "\u2212"


@dataclass(frozen=True)
class Number:
    """A value with its interval, None where it is not known; a `difference` has a sign and may not be measurable."""

    interval: Interval | None
    metric: Metric
    difference: bool = False

    @property
    def measurable(self) -> bool:
        """False of a difference whose interval holds 0."""
        return self.interval is not None and (not self.difference or self.interval.excludes(0))

    def markdown(self) -> str:
        """Return `93.5 [92.1, 94.9]`."""
        if self.interval is None:
            return NOTHING
        if self.metric.bare and self.interval.low == self.interval.high:
            return self.metric.number(self.interval.value)
        return self.interval.format(self.metric.digits, self.metric.scale)

    def terminal(self) -> str | Text:
        """Return `93.5 ±1.4`, or a difference `+7.3` over `[5.1, 9.4]`, bold where that excludes 0."""
        if self.interval is None:
            return NOTHING
        i, write = self.interval, self.metric.number
        if not self.difference:
            return f"{write(i.value)} ±{write((i.high - i.low) / 2, beside=i.value)}"
        from rich.text import Text

        shown = (write(i.value, "+"), "bold" if self.measurable else "")
        return Text.assemble(shown, f"\n[{write(i.low)}, {write(i.high)}]")

    def html(self) -> tuple[str, str]:
        """Return the value and its bounds, `93.5 %` and `92.1–94.9`, or `+7.3` and `+5.1 to +9.4`.

        No bounds where nothing varies.
        """
        if self.interval is None:
            return "", ""
        i, metric, sign = self.interval, self.metric, "+" if self.difference else ""
        value = _true_minus(metric.number(i.value, sign))
        low, high = (
            _true_minus(metric.number(v, sign, i.value) if self.difference else metric.bound(v, i.value))
            for v in (i.low, i.high)
        )
        if self.metric.scale == 100 and not self.difference:
            value += "\u00a0%"
        if i.low == i.high:
            return value, ""
        return value, f"{low} to {high}" if self.difference or i.low < 0 else f"{low}–{high}"


Value = str | Number


@dataclass(frozen=True)
class Column:
    """The head of a column.

    Attributes:
        title: what is in it.
        arm: the arm that all its values are of; empty for none.
        note: small words below the title.
        better: which way the best values lie, where a page may sort by it; empty for no sorting.
        words: whether it holds words, which a terminal may wrap.
        drawing: whether it holds drawings, in SVG.
    """

    title: str
    arm: str = ""
    note: str = ""
    better: str = ""
    words: bool = False
    drawing: bool = False


@dataclass(frozen=True)
class Row:
    """A row.

    Attributes:
        head: an arm's name or any words.
        cells: the cells.
        note: small words below the head.
        strong: whether it is the one to look at, bold in a terminal.
        apart: whether it begins another part of the table, below a line in a terminal.
        css: class that a page styles it by.
    """

    head: str
    cells: tuple[Value, ...]
    note: str = ""
    strong: bool = False
    apart: bool = False
    css: str = ""


@dataclass(frozen=True)
class Table:
    """Rows under columns; the first column holds the heads of the rows. A terminal may leave out the lines."""

    columns: tuple[Column, ...]
    rows: tuple[Row, ...]
    title: str = ""
    lines: bool = True

    @classmethod
    def of(cls, title: str, columns: Sequence[str | Column], rows: Iterable[Iterable[Any]]) -> Table:
        """Return a table of columns by title; the first cell of each row is its head."""
        heads = tuple(Column(column) if isinstance(column, str) else column for column in columns)
        return cls(heads, tuple(Row(str(head), tuple(cells)) for head, *cells in rows), title)

    def markdown(self) -> str:
        """Return the table in Markdown, without its title."""
        body = [[row.head, *(c if isinstance(c, str) else c.markdown() for c in row.cells)] for row in self.rows]
        header = " | ".join(column.title for column in self.columns)
        lines = [f"| {header} |", "|" + "---|" * len(self.columns)]
        return "\n".join(
            [*lines, *(f"| {' | '.join(c.replace('|', chr(92) + '|') for c in cells)} |" for cells in body)]
        )

    def terminal(self, **options: Any) -> rich.table.Table:
        """Return the table for a terminal; `options` are those of rich's table."""
        from rich.table import Table as RichTable

        # Where words wrap, so does the title.
        width = 0 if any(column.words for column in self.columns) else len(self.title)
        header = any(column.title for column in self.columns)
        if not self.lines:
            options = {"box": None, "padding": (0, 2, 0, 0), **options}
        made = RichTable(title=self.title, title_justify="left", min_width=width, show_header=header, **options)
        for i, column in enumerate(self.columns):
            if column.words:
                made.add_column(column.title, overflow="fold")
            else:
                made.add_column(column.title, justify="right" if i else "left", no_wrap=True)
        for row in self.rows:
            if row.apart:
                made.add_section()
            cells = [f"{row.head}\n{row.note}" if row.note else row.head, *row.cells]
            shown = [cell if isinstance(cell, str) else cell.terminal() for cell in cells]
            made.add_row(*shown, style="bold" if row.strong else None)
        return made


def numbers_of(found: Mapping[str, Interval | None], metrics: Sequence[str], difference: bool = False) -> list[Value]:
    """Return one number a metric."""
    return [Number(found.get(name), metric_of(name), difference) for name in metrics]


def number_of(name: str, interval: Interval | None, difference: bool = False) -> Number:
    """Return a number of a known metric."""
    return Number(interval, METRICS[name], difference)


def csv_text(columns: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """Return rows as CSV; an interval takes three cells (value, low, high), all empty for None."""
    from attnpo.statistics import Interval  # lists of the command line draw tables, and need no numpy

    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(columns)
    for row in rows:
        cells: list[object] = []
        for cell in row:
            if isinstance(cell, Interval):
                cells += [cell.value, cell.low, cell.high]
            else:
                cells += ["", "", ""] if cell is None else [cell]
        writer.writerow(cells)
    return stream.getvalue()


def _true_minus(text: str) -> str:
    """Return a number with a true minus sign; a written zero has no sign."""
    return text.replace("-", MINUS) if any(digit in text for digit in "123456789") else text.lstrip("+-")
