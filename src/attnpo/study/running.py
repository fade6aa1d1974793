"""Run the arms of an experiment side by side, each command in a process of its own."""

from __future__ import annotations

import json
import os
import shlex
import signal
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.progress import Progress, TaskID

from attnpo.errors import AttnPOError
from attnpo.output import write_atomically
from attnpo.study.arms import ArmRun, Command
from attnpo.study.ending import Running, ended_on_exit
from attnpo.study.processes import Process, Starter

MOST_BARS = 8
"""With more arms than this the bar of a finished one gives way to a line."""


@dataclass(frozen=True)
class Failure:
    """A command that did not run to its end.

    Attributes:
        arm: whose command it is.
        command: its name.
        code: its exit code; minus the number of the signal that ended it.
        log: file with all that it said.
        last: its last words.
    """

    arm: ArmRun
    command: str
    code: int
    log: Path
    last: str

    def __str__(self) -> str:
        said = f"see {self.log} ({self.last})"
        if self.code != -signal.SIGKILL:
            return f"{self.arm.label}: {self.command} failed with exit code {self.code}; {said}"
        return (
            f"{self.arm.label}: {self.command} was killed, as a system out of memory does; give fewer --jobs, or "
            f"smaller micro-batches (per_device_train_batch_size); {said}"
        )


def run_arms(
    arms: Sequence[ArmRun],
    jobs: int,
    progress: Progress | None = None,
    poll_seconds: float = 0.5,
    *,
    keep_going: bool = False,
    threads: int = 1,
    deadline: float | None = None,
) -> list[Failure]:
    """Run all arms, `jobs` at a time; arms already on disk are skipped, interrupted ones go on.

    At a deadline nothing new is begun and what runs is ended, to go on at the next call: training finishes its step and
    saves first. Ctrl-C and SIGTERM do the same, a second one ends at once; nothing that was saved is lost.

    Args:
        arms: the arms, in the order in which they are started.
        jobs: how many run side by side.
        progress: display, or None.
        poll_seconds: how often to look after the processes.
        keep_going: let the others go on when one fails.
        threads: CPU threads of each process.
        deadline: when to end, in seconds of `time.monotonic`; None to run to the end.

    Returns:
        The failures; empty unless `keep_going`.

    Raises:
        AttnPOError: an arm failed (the message names its log file) and the others are not to go on; or an arm's folder
            holds results of other settings.
        KeyboardInterrupt: Ctrl-C came, and what ran has ended.
        SystemExit: SIGTERM came, likewise.
    """
    running: list[_Runner] = []
    failures: list[Failure] = []
    display = _Display(progress, keep_bars=len(arms) <= MOST_BARS)
    with (
        Starter(threads) as starter,
        ended_on_exit(lambda: [part for runner in running for part in runner.running], display.say) as requests,
    ):
        waiting = [_Runner(arm, starter) for arm in arms]
        while (waiting or running) and not (requests.received or is_over(deadline)):
            while waiting and len(running) < jobs:
                running.append(waiting.pop(0))
                display.start(running[-1])
            for runner in list(running):
                failure = runner.advance()
                if requests.received:  # a terminal signals the commands, too: what ends by that did not fail
                    break
                if failure is not None:
                    failures.append(failure)
                    if not keep_going:
                        raise AttnPOError(str(failure))
                if failure is not None or runner.finished:
                    running.remove(runner)
                display.show(runner, failure)
            if running:
                time.sleep(poll_seconds)
    return failures


def is_over(deadline: float | None) -> bool:
    """Whether a deadline, in seconds of `time.monotonic`, has passed; None never does."""
    return deadline is not None and time.monotonic() >= deadline


def cores() -> int:
    """Return how many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


class _Runner:
    """Takes one arm through its commands."""

    def __init__(self, arm: ArmRun, starter: Starter) -> None:
        self.arm, self.starter = arm, starter
        self.queue = list(arm.commands)
        self.process: Process | None = None
        self.claimed = False

    @property
    def finished(self) -> bool:
        return not self.queue

    def advance(self) -> Failure | None:
        """Start the next command once the one before is over; returns how that one failed, if it did."""
        if self.process is not None:
            code = self.process.poll()
            if code is None:
                return None
            self.process = None
            if code != 0:
                return self._failure(self.queue[0], code)
            self.queue.pop(0)
        while self.queue and self.queue[0].is_done:
            self.queue.pop(0)
        if self.queue:
            self._start(self.queue[0])
        return None

    @property
    def running(self) -> list[Running]:
        """The command that runs, if one does."""
        return [] if self.process is None else [Running(f"{self.arm.label}: {self.queue[0].name}", self.process)]

    def _start(self, command: Command) -> None:
        command.done.parent.mkdir(parents=True, exist_ok=True)
        if self.arm.claim is not None and not self.claimed:
            self.arm.claim()
            self.claimed = True
        line = shlex.join(["attnpo", *command.arguments()])
        write_atomically(command.done.with_name(f"{command.name}.command.txt"), line + "\n")
        self.process = self.starter.start(command, self._log(command))

    def _failure(self, command: Command, code: int) -> Failure:
        log = self._log(command)
        last = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()[-1:] or ["no output"]
        return Failure(self.arm, command.name, code, log, last[0])

    def _log(self, command: Command) -> Path:
        return command.done.with_name(f"{command.name}.out")


class _Display:
    """One bar a running arm."""

    def __init__(self, progress: Progress | None, keep_bars: bool) -> None:
        self.progress, self.keep_bars = progress, keep_bars
        self.tasks: dict[Path, TaskID] = {}

    def start(self, runner: _Runner) -> None:
        if self.progress is not None and not runner.arm.done:
            total = _total(runner.arm)
            self.tasks[runner.arm.folder] = self.progress.add_task(runner.arm.label, total=total, note="starting")

    def show(self, runner: _Runner, failure: Failure | None) -> None:
        arm = runner.arm
        if self.progress is None or arm.folder not in self.tasks:
            return
        task = self.tasks[arm.folder]
        if failure is not None:
            self._close(task, "failed", f"{arm.label}: failed ({failure.log})")
        elif runner.finished:
            self.progress.update(task, completed=_total(arm))
            self._close(task, "done", f"{arm.label}: done")
        elif runner.queue[0].name == "train":
            line = last_log_line(arm.folder / "log.jsonl")
            if line is not None and "attnpo/accuracy" in line:
                note = f"{line['attnpo/accuracy']:.0%} correct, {line['attnpo/response_length']:.0f} tokens"
                spent = line["step"] if arm.max_tokens is None else line.get("attnpo/sampled_tokens", 0)
                self.progress.update(task, completed=min(spent, _total(arm)), note=note)
        elif arm.max_steps:
            self.progress.update(task, completed=_total(arm), note="measuring on held-out problems")

    def say(self, line: str) -> None:
        if self.progress is not None:
            self.progress.console.print(line, markup=False)

    def _close(self, task: TaskID, note: str, line: str) -> None:
        assert self.progress is not None
        self.progress.update(task, note=note)
        self.progress.stop_task(task)
        if not self.keep_bars:
            self.progress.remove_task(task)
            self.say(line)


def _total(arm: ArmRun) -> int:
    """Return the length of an arm's bar: tokens or steps of its training; 1 where it trains nothing."""
    return arm.max_tokens or arm.max_steps or 1


def last_log_line(path: Path) -> dict[str, Any] | None:
    """Return the last whole line of a run's log, None before there is one."""
    if not path.exists():
        return None
    lines = [line for line in path.read_text(encoding="utf-8").splitlines(keepends=True) if line.endswith("\n")]
    return json.loads(lines[-1]) if lines else None
