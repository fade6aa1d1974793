"""The end of commands that run side by side: all are asked at once, and killed where they do not end in time."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType

from attnpo.study.processes import Process

GRACE_SECONDS = 600.0
"""How long a command may take to end: training finishes its step and saves, three minutes with the real model on one
core, and other machines are slower; what takes much longer hangs."""
SAME_PRESS_SECONDS = 2.0
"""`timeout` signals a process and then its group: one request, not two, as in `attnpo.training.interrupts`."""
POLL_SECONDS = 0.05


@dataclass(frozen=True)
class Running:
    """A command that runs, by its name in messages."""

    name: str
    process: Process


class Requests:
    """Ctrl-C and SIGTERM: the first asks for an end in order, a later one for an end at once.

    Neither raises where it comes, so that no process is begun and then forgotten.

    Attributes:
        received: the first signal that came; None before.
        at_once: whether a later one came.
    """

    def __init__(self) -> None:
        self.received: int | None = None
        self.at_once = False
        self._since: float | None = None

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Take the signals over while the block runs; only the main thread can, and ignored ones stay ignored."""
        main = threading.current_thread() is threading.main_thread()
        numbers = [n for n in (signal.SIGINT, signal.SIGTERM) if main and signal.getsignal(n) is not signal.SIG_IGN]
        before = {number: signal.signal(number, self._on_signal) for number in numbers}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def begin(self) -> None:
        """Note that the end has begun, if no signal has."""
        self._since = time.monotonic() if self._since is None else self._since

    def leave(self) -> None:
        """End the call as the first signal asked for; do nothing where none came.

        Raises:
            KeyboardInterrupt: it was Ctrl-C.
            SystemExit: it was SIGTERM.
        """
        if self.received == signal.SIGINT:
            raise KeyboardInterrupt
        if self.received is not None:
            sys.exit(128 + self.received)

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        now = time.monotonic()
        self.received = number if self.received is None else self.received
        if self._since is None:
            self._since = now
        elif now - self._since >= SAME_PRESS_SECONDS:
            self.at_once = True


@contextmanager
def ended_on_exit(running: Callable[[], Sequence[Running]], say: Callable[[str], None]) -> Iterator[Requests]:
    """Let no process outlive the block, however it is left.

    Args:
        running: returns what runs.
        say: called with a line on what is waited for and on each command that was killed.

    Yields:
        the requests to end, for the block to look at; once all has ended, they end the call.
    """
    requests = Requests()
    with requests.listening():
        try:
            yield requests
        finally:
            requests.begin()
            _end(running(), requests, say)
    requests.leave()


def _end(running: Sequence[Running], requests: Requests, say: Callable[[str], None]) -> None:
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
