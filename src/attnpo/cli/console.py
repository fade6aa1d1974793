"""The terminal that commands write to."""

from __future__ import annotations

import logging
import os
import sys
import warnings
from typing import Any

from rich.console import Console, ConsoleOptions, RenderResult
from rich.measure import Measurement
from rich.table import Table as RichTable
from rich.text import Text

from attnpo.tables import Table

UNBOUNDED = 100_000
"""Characters that no cell is wider than."""


class Terminal(Console):
    """Writes what it is given whole, however narrow it is: paths can be copied, and nothing in one is read as markup.

    A line of text is not wrapped (the terminal shows it on as many lines as it needs); a table gets at least the width
    of its longest word, and of the whole cell in columns that do not wrap.
    """

    def __init__(self, **options: Any) -> None:
        super().__init__(**{"highlight": False, "markup": False, "emoji": False, **options})

    def print(self, *objects: Any, soft_wrap: bool | None = None, crop: bool | None = None, **options: Any) -> None:
        """Print as rich does; lines of text are not wrapped and tables not cut."""
        drawn = [thing.terminal() if isinstance(thing, Table) else thing for thing in objects]
        whole = [_Whole(thing) if isinstance(thing, RichTable) else thing for thing in drawn]
        if soft_wrap is None:
            soft_wrap = all(isinstance(thing, (str, Text)) for thing in whole)
        if crop is None:
            crop = not any(isinstance(thing, (str, Text, _Whole)) for thing in whole)
        super().print(*whole, soft_wrap=soft_wrap, crop=crop, **options)


class _Whole:
    """A table that breaks no word."""

    def __init__(self, table: RichTable) -> None:
        self.table = table

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        unbounded = options.update(width=UNBOUNDED)
        for column in self.table.columns:
            cells = [Measurement.get(console, unbounded, cell) for cell in (column.header, *column.cells)]
            widths = [cell.maximum if column.no_wrap else cell.minimum for cell in cells]
            column.min_width = max(column.min_width or 0, *widths)
        least = Measurement.get(console, unbounded, self.table).minimum
        yield from console.render(self.table, options.update(width=max(options.max_width, least)))


console = Terminal()


def quiet_libraries() -> None:
    """Keep progress readable: libraries warn, attnpo says what it chose; no progress bars of theirs at load."""
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    os.environ.setdefault("TRL_EXPERIMENTAL_SILENCE", "1")
    warnings.filterwarnings("ignore", category=FutureWarning)
    logging.getLogger("transformers").setLevel(logging.ERROR)
    from transformers.utils import logging as transformers_logging

    transformers_logging.disable_progress_bar()
    ours = logging.getLogger("attnpo")
    ours.setLevel(logging.INFO)
    if not ours.handlers:
        ours.addHandler(_Lines())


class _Lines(logging.Handler):
    """Writes what is logged to stderr, as it stands."""

    def emit(self, record: logging.LogRecord) -> None:
        print(self.format(record), file=sys.stderr)
