"""Ctrl-C and SIGTERM: the first asks for an end in order, a later one for an end at once."""

from __future__ import annotations

import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

SIGNALS = (signal.SIGINT, signal.SIGTERM)
SAME_PRESS_SECONDS = 2.0
"""A terminal, `timeout` or a launcher signals a process and what it started: that is one request, not two."""


class Interrupts:
    """The signals that ask for an end, taken over between `install` and `restore`.

    Args:
        on_first: called with the first signal, where it comes.
        on_again: called with each later one that is no echo of the first, where it comes.

    Attributes:
        received: the first signal that came; None before.
        at_once: whether a later one came.
    """

    def __init__(
        self, on_first: Callable[[int], None] | None = None, on_again: Callable[[int], None] | None = None
    ) -> None:
        self.received: int | None = None
        self.at_once = False
        self._on_first, self._on_again = on_first, on_again
        self._since: float | None = None
        self._before: dict[int, Any] = {}

    def install(self) -> None:
        """Take over the signals; only the main thread can, and ignored ones stay ignored (a shell's background)."""
        if threading.current_thread() is not threading.main_thread() or self._before:
            return
        self.received, self.at_once, self._since = None, False, None
        for number in SIGNALS:
            if signal.getsignal(number) is not signal.SIG_IGN:
                self._before[number] = signal.signal(number, self._on_signal)

    def restore(self) -> None:
        """Give the signals back."""
        for number, handler in self._before.items():
            signal.signal(number, handler)
        self._before = {}

    @contextmanager
    def installed(self) -> Iterator[None]:
        """Take the signals over while the block runs."""
        self.install()
        try:
            yield
        finally:
            self.restore()

    def begin(self) -> None:
        """Note that the end has begun, if no signal has."""
        self._since = time.monotonic() if self._since is None else self._since

    def leave(self) -> None:
        """End the call as the first signal asked for; do nothing where none came.

        Raises:
            KeyboardInterrupt: it was Ctrl-C.
            SystemExit: it was SIGTERM.
        """
        if self.received is not None:
            end_by(self.received)

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        now = time.monotonic()
        is_first = self.received is None
        self.received = number if is_first else self.received
        if self._since is None:
            self._since = now
        elif now - self._since >= SAME_PRESS_SECONDS:
            self.at_once = True
        if is_first and self._on_first is not None:
            self._on_first(number)
        if self.at_once and self._on_again is not None:
            self._on_again(number)


def end_by(number: int) -> None:
    """End as a signal's convention says.

    Raises:
        KeyboardInterrupt: it was Ctrl-C.
        SystemExit: it was another; the code is 128 + its number.
    """
    if number == signal.SIGINT:
        raise KeyboardInterrupt
    sys.exit(128 + number)
