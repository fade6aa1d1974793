"""The end of commands that run side by side: asked together, waited for, killed after a grace, at once when asked."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

import pytest

from attnpo import interrupts
from attnpo.study import ending
from attnpo.study.ending import Running, ended_on_exit

IGNORES = "signal.signal(signal.SIGTERM, signal.SIG_IGN); ready(); time.sleep(600)"
SAVES = (  # once asked it waits for the others to be asked too, then saves
    "signal.signal(signal.SIGTERM, lambda *_: asked.append(1)); asked = []; ready()\n"
    "while not asked: time.sleep(0.01)\n"
    "(folder / (me + '.asked')).touch(); until = time.monotonic() + 30\n"
    "while len(list(folder.glob('*.asked'))) < {count}:\n"
    "    time.sleep(0.01)\n"
    "    if time.monotonic() > until: sys.exit('the others were not asked')\n"
    "(folder / (me + '.saved')).touch()"
)


def start(folder, name: str, code: str) -> Running:
    """Start a line of Python; returns once it has said that it is ready."""
    head = (
        "import pathlib, signal, sys, time; folder, me = pathlib.Path(sys.argv[1]), sys.argv[2]\n"
        "def ready(): (folder / (me + '.ready')).touch()\n"
    )
    process = subprocess.Popen([sys.executable, "-c", head + code, str(folder), name])
    while not (folder / f"{name}.ready").exists():
        assert process.poll() is None
        time.sleep(0.01)
    return Running(f"row/{name}: train", process)


@pytest.fixture
def started(tmp_path):
    """Start commands; none outlives the test, whatever it finds."""
    all_started: list[Running] = []

    def make(name: str, code: str) -> Running:
        all_started.append(start(tmp_path, name, code))
        return all_started[-1]

    yield make
    for command in all_started:
        command.process.kill()
        command.process.wait()


def test_all_are_asked_before_any_is_waited_for(tmp_path, started):
    commands = [started(name, SAVES.format(count=3)) for name in "abc"]
    said: list[str] = []
    with ended_on_exit(lambda: commands, said.append):
        pass
    assert [command.process.returncode for command in commands] == [0, 0, 0]
    assert sorted(path.name for path in tmp_path.glob("*.saved")) == ["a.saved", "b.saved", "c.saved"]
    assert said == ["ending 3 commands: training finishes its step and saves (at most 10 minutes); Ctrl-C ends at once"]


def test_what_does_not_end_is_killed_after_the_grace_and_named(tmp_path, started, monkeypatch):
    hangs, saves = started("hangs", IGNORES), started("saves", SAVES.format(count=1))
    monkeypatch.setattr(ending, "GRACE_SECONDS", 3.0)
    said: list[str] = []
    with pytest.raises(ValueError, match="left"), ended_on_exit(lambda: [hangs, saves], said.append):
        raise ValueError("left")
    assert hangs.process.returncode == -signal.SIGKILL
    assert (tmp_path / "saves.saved").exists()
    assert said[1:] == [
        "row/hangs: train was killed 0.05 minutes after it was asked to end; the same command goes on from what it had "
        "saved"
    ]


def test_a_finished_command_is_neither_asked_nor_waited_for(started):
    done = started("done", "ready()")
    done.process.wait()
    said: list[str] = []
    with ended_on_exit(lambda: [done], said.append):
        pass
    assert said == []


@pytest.mark.parametrize(("number", "raised"), [(signal.SIGINT, KeyboardInterrupt), (signal.SIGTERM, SystemExit)])
def test_a_second_signal_ends_at_once(started, heard, monkeypatch, number, raised):
    hangs = started("hangs", IGNORES)
    monkeypatch.setattr(interrupts, "SAME_PRESS_SECONDS", 0.0)
    handlers = [signal.getsignal(n) for n in (signal.SIGINT, signal.SIGTERM)]
    said: list[str] = []

    def again(line: str) -> None:
        said.append(line)
        if len(said) == 1:
            os.kill(os.getpid(), number)

    begun = time.monotonic()
    reached = False
    with pytest.raises(raised) as left, ended_on_exit(lambda: [hangs], again):  # noqa: PT012 the block goes on
        os.kill(os.getpid(), number)
        reached = True
    assert reached
    assert getattr(left.value, "code", 143) == 143
    assert hangs.process.returncode == -signal.SIGKILL
    assert said[1] == "row/hangs: train was killed at once, as asked; the same command goes on from what it had saved"
    assert time.monotonic() - begun < ending.GRACE_SECONDS / 2
    assert [signal.getsignal(n) for n in (signal.SIGINT, signal.SIGTERM)] == handlers


def test_one_press_that_comes_twice_is_one_request(tmp_path, started, monkeypatch):
    saves = started("saves", SAVES.format(count=1))
    monkeypatch.setattr(interrupts, "SAME_PRESS_SECONDS", 600.0)
    with (
        pytest.raises(SystemExit) as left,
        ended_on_exit(lambda: [saves], lambda line: os.kill(os.getpid(), signal.SIGTERM)),
    ):
        os.kill(os.getpid(), signal.SIGTERM)
    assert left.value.code == 143
    assert (tmp_path / "saves.saved").exists()


def test_an_ignored_signal_stays_ignored():
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)  # as a shell starts what it puts into the background
    try:
        with ended_on_exit(list, print) as requests:
            os.kill(os.getpid(), signal.SIGINT)
        assert requests.received is None
    finally:
        signal.signal(signal.SIGINT, before)
