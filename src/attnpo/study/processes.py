"""Commands as processes: interpreters of their own, small ones forked from one that has the libraries loaded."""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from attnpo.study.arms import Command

POLL_SECONDS = 0.05


class Process(Protocol):
    """A process that runs, as `subprocess.Popen` describes it."""

    pid: int

    def poll(self) -> int | None:
        """Return its exit code, minus the number of the signal that ended it; None while it runs."""

    def wait(self) -> int:
        """Wait until it has ended, and return its exit code."""

    def terminate(self) -> None:
        """Ask it to end."""

    def kill(self) -> None:
        """End it."""


class Starter:
    """Starts commands with a number of CPU threads each; a context in which they have to end.

    Commands on the CPU with one thread are forked, on Linux, from a process that has loaded the libraries
    (`attnpo.cli.forking`): that is safe where there is neither a thread nor a GPU, and a small model's cell
    has five commands that would each import for seconds.
    """

    def __init__(self, threads: int = 1) -> None:
        # No more threads than cores: processes would fight over them.
        self._environment = {**os.environ, "OMP_NUM_THREADS": str(threads), "MKL_NUM_THREADS": str(threads)}
        self._may_fork = threads == 1 and sys.platform == "linux"
        self._server: ForkServer | None = None

    def __enter__(self) -> Starter:
        return self

    def __exit__(self, *error: object) -> None:
        if self._server is not None:
            self._server.close()

    def start(self, command: Command, log: Path) -> Process:
        """Start a command, whose output goes into the file `log`."""
        log.write_bytes(b"")
        if self._may_fork and command.on_cpu:
            self._server = self._server or ForkServer(self._environment)
            with contextlib.suppress(ForkServerGone):
                return self._server.start(command.arguments(), log)
            self._may_fork = False  # a process of its own says into its log what is wrong
        with log.open("a", encoding="utf-8") as output:
            return subprocess.Popen(
                command.argv(),
                stdout=output,
                stderr=subprocess.STDOUT,
                stdin=subprocess.DEVNULL,
                env=self._environment,
            )


class ForkServerGone(Exception):
    """The process that forks commands has ended."""


class ForkServer:
    """The process that has the libraries loaded, started at once; it ends at `close` and with its parent."""

    def __init__(self, environment: dict[str, str]) -> None:
        """Start it.

        Args:
            environment: its environment and that of all its commands.
        """
        argv = [sys.executable, "-m", "attnpo.cli.forking"]
        self._process = subprocess.Popen(
            argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=environment, bufsize=0
        )
        self._codes: dict[int, int] = {}
        self._running: set[int] = set()

    def start(self, argv: Sequence[str], log: Path) -> ForkedProcess:
        """Fork a command; waits until the libraries are loaded.

        Args:
            argv: its arguments, without the program's name.
            log: file that its output is added to.

        Raises:
            ForkServerGone: it has ended.
        """
        assert self._process.stdin is not None
        request = json.dumps({"argv": list(argv), "log": str(log.absolute())}).encode() + b"\n"
        try:
            self._process.stdin.write(request)
        except BrokenPipeError as error:
            raise ForkServerGone from error
        while (reply := self._read()) is not None:
            if "code" not in reply:
                self._running.add(reply["pid"])
                return ForkedProcess(self, reply["pid"])
        raise ForkServerGone

    def code(self, pid: int) -> int | None:
        """Return the exit code of a command; None while it runs."""
        assert self._process.stdout is not None
        while pid not in self._codes and select.select([self._process.stdout], [], [], 0)[0]:
            if self._read() is None:
                self._end_orphans()
        return self._codes.get(pid)

    def close(self) -> None:
        """End it; commands that still run go on."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        self._process.wait()
        self._process.stdout.close()

    def _read(self) -> dict[str, int] | None:
        """Return the next reply; None where it has ended."""
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            return None
        reply: dict[str, int] = json.loads(line)
        if "code" in reply:
            self._running.discard(reply["pid"])
            self._codes[reply["pid"]] = reply["code"]
        return reply

    def _end_orphans(self) -> None:
        """End what nobody can tell the exit code of any more."""
        for pid in self._running:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
            self._codes[pid] = -signal.SIGKILL
        self._running.clear()


class ForkedProcess:
    """A command that a `ForkServer` has forked."""

    def __init__(self, server: ForkServer, pid: int) -> None:
        self._server, self.pid = server, pid

    def poll(self) -> int | None:
        """Return its exit code, minus the number of the signal that ended it; None while it runs."""
        return self._server.code(self.pid)

    def wait(self) -> int:
        """Wait until it has ended, and return its exit code."""
        while (code := self.poll()) is None:
            time.sleep(POLL_SECONDS)
        return code

    def terminate(self) -> None:
        """Ask it to end."""
        self._signal(signal.SIGTERM)

    def kill(self) -> None:
        """End it."""
        self._signal(signal.SIGKILL)

    def _signal(self, number: int) -> None:
        if self.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, number)
