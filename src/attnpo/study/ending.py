"""The end of commands that run side by side: all are asked at once, and killed where they do not end in time."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from attnpo.interrupts import Interrupts
from attnpo.study.processes import Process

GRACE_SECONDS = 600.0
"""How long a command may take to end: training finishes its step and saves, three minutes with the real model on one
core, and other machines are slower; what takes much longer hangs."""
POLL_SECONDS = 0.05


@dataclass(frozen=True)
class Running:
    """A command that runs, by its name in messages."""

    name: str
    process: Process


@contextmanager
def ended_on_exit(running: Callable[[], Sequence[Running]], say: Callable[[str], None]) -> Iterator[Interrupts]:
    """Let no process outlive the block, however it is left.

    Args:
        running: returns what runs.
        say: called with a line on what is waited for and on each command that was killed.

    Yields:
        the requests to end, for the block to look at; once all has ended, they end the call.
    """
    requests = Interrupts()
    with requests.installed():
        try:
            yield requests
        finally:
            requests.begin()
            _end(running(), requests, say)
    requests.leave()


def _end(running: Sequence[Running], requests: Interrupts, say: Callable[[str], None]) -> None:
    alive = _alive(running)
    for command in alive:
        command.process.terminate()
    if alive:
        _tell(
            say,
            f"ending {len(alive)} command{'s' * (len(alive) > 1)}: training finishes its step and saves "
            f"(at most {GRACE_SECONDS / 60:g} minutes); Ctrl-C ends at once",
        )
    until = time.monotonic() + GRACE_SECONDS
    while alive and not requests.at_once and time.monotonic() < until:
        time.sleep(POLL_SECONDS)
        alive = _alive(alive)
    how = "at once, as asked" if requests.at_once else f"{GRACE_SECONDS / 60:g} minutes after it was asked to end"
    for command in alive:
        command.process.kill()
    for command in alive:
        command.process.wait()
        _tell(say, f"{command.name} was killed {how}; the same command goes on from what it had saved")


def _tell(say: Callable[[str], None], line: str) -> None:
    """Say a line where anybody still reads: rich ends the process on a closed pipe, and what runs would outlive it."""
    try:
        say(line)
    except (BrokenPipeError, SystemExit):
        sys.stdout = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115 - the interpreter flushes it at its end


def _alive(running: Sequence[Running]) -> list[Running]:
    return [command for command in running if command.process.poll() is None]
