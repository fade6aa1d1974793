"""Progress bars with rate and time left; everything that takes `progress` also works with None, silently."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TextColumn,
    TimeRemainingColumn,
)
from rich.text import Text


class Advance(Protocol):
    """Moves a bar on."""

    def __call__(self, amount: float = 1, note: str | None = None) -> None:
        """Advance by `amount` and, where given, replace the note behind the bar."""


class RateColumn(ProgressColumn):
    """Finished units a second."""

    def render(self, task: Task) -> Text:
        """Return the rate, blank until one is known."""
        speed = task.finished_speed or task.speed
        return Text("" if speed is None else f"{speed:.1f}/s", style="progress.data.speed")


def console_progress(console: Console | None = None) -> Progress:
    """Return a rich progress display (a context manager) with count, rate, time left and a note."""
    return Progress(
        TextColumn("{task.description}", markup=False),
        BarColumn(bar_width=12),
        MofNCompleteColumn(),
        RateColumn(),
        TimeRemainingColumn(compact=True, elapsed_when_finished=True),
        TextColumn("{task.fields[note]}", style="dim", markup=False),
        console=console,
    )


@contextmanager
def bar(progress: Progress | None, description: str, total: int | None, done: int = 0) -> Iterator[Advance]:
    """Show one bar of `progress` while the block runs.

    Args:
        progress: the display, or None for silence.
        description: what is being done; no path, which a narrow terminal would cut.
        total: number of units, None where it is not known.
        done: units already finished before (a resumed run).

    Yields:
        a function that advances the bar.
    """
    if progress is None:
        yield lambda amount=1, note=None: None
        return
    task = progress.add_task(description, total=total, completed=done, note="")

    def advance(amount: float = 1, note: str | None = None) -> None:
        progress.update(task, advance=amount)
        if note is not None:
            progress.update(task, note=note)

    yield advance
    progress.stop_task(task)
