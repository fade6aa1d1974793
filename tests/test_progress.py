from __future__ import annotations

import io

from rich.console import Console

from attnpo.progress import bar, console_progress


def test_a_bar_counts_from_what_was_done_before_and_shows_its_note():
    screen = io.StringIO()
    console = Console(file=screen, force_terminal=True, width=160)
    with console_progress(console) as progress, bar(progress, "sampling", total=10, done=4) as advance:
        advance(5)
        advance(note="50% correct")
    assert [(task.completed, task.total) for task in progress.tasks] == [(10, 10)]
    assert "sampling" in screen.getvalue()
    assert "10/10" in screen.getvalue()
    assert "50% correct" in screen.getvalue()


def test_without_a_display_nothing_happens():
    with bar(None, "sampling", total=1) as advance:
        advance(3, "note")
