"""Forked commands end, fail and are signalled as processes of their own are."""

from __future__ import annotations

import os
import signal
import socket
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import pytest

from attnpo.study.arms import Command
from attnpo.study.processes import ForkedProcess, Starter

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="commands are forked on Linux alone")


@dataclass(frozen=True)
class Line(Command):
    """A command line of `attnpo`."""

    words: tuple[str, ...] = ()
    forked: bool = True

    @property
    def on_cpu(self) -> bool:
        return self.forked

    def arguments(self) -> list[str]:
        return list(self.words)


def line(*words: str, forked: bool = True) -> Line:
    return Line(words[0], {}, Path("unused"), words, forked)


@pytest.fixture(scope="module")
def starter():
    with Starter() as starter:
        yield starter


@pytest.fixture
def waiting(tmp_path):
    """A command that waits: for a server that takes connections and says nothing."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"http://127.0.0.1:{server.getsockname()[1]}/v1"
        yield line(
            "evaluate", "--model", "tinyworld", "--data", "tinyworld", "--num_problems", "1", "--engine", "server",
            "--base_url", address, "--output_dir", str(tmp_path / "evaluation"),
        )  # fmt: skip


def test_a_forked_command_says_and_returns_what_one_of_its_own_does(starter, tmp_path):
    for words, code in ((("methods",), 0), (("evaluate", "--no_such_flag", "1"), 2), (("nothing",), 2)):
        logs = [tmp_path / f"{words[0]}.{forked}" for forked in (True, False)]
        first, second = (
            starter.start(line(*words, forked=forked), log) for forked, log in zip((True, False), logs, strict=True)
        )
        assert isinstance(first, ForkedProcess)
        assert not isinstance(second, ForkedProcess)
        assert first.wait() == second.wait() == first.poll() == code
        assert logs[0].read_text() == logs[1].read_text() != ""


def test_commands_side_by_side_have_logs_and_codes_of_their_own(starter, tmp_path):
    lines = (line("signals"), line("nothing"), line("methods"))
    processes = [starter.start(each, tmp_path / each.name) for each in lines]
    assert [process.wait() for process in processes] == [0, 2, 0]
    assert "no command 'nothing'" in (tmp_path / "nothing").read_text()
    assert "entropy" in (tmp_path / "signals").read_text()
    assert len({process.pid for process in processes}) == 3


def test_signals(starter, waiting, tmp_path):
    for signals, codes in (("terminate", (-signal.SIGTERM, 143)), ("kill", (-signal.SIGKILL,))):
        process = starter.start(waiting, tmp_path / signals)
        assert process.poll() is None
        getattr(process, signals)()
        assert process.wait() in codes
        getattr(process, signals)()  # nobody else is hit by a signal to what has ended


def test_a_terminals_signals_do_not_end_the_server(starter, tmp_path):
    starter.start(line("methods"), tmp_path / "before").wait()
    for number in (signal.SIGINT, signal.SIGTERM):
        os.kill(starter._server._process.pid, number)
    assert starter.start(line("methods"), tmp_path / "after").wait() == 0
    assert isinstance(starter.start(line("methods"), tmp_path / "later"), ForkedProcess)


def test_where_the_server_is_gone_its_commands_end_and_others_are_started_without(waiting, tmp_path):
    with Starter() as starter:
        process = starter.start(waiting, tmp_path / "orphan")
        os.kill(starter._server._process.pid, signal.SIGKILL)
        assert process.wait() == -signal.SIGKILL
        while Path(f"/proc/{process.pid}").exists():  # whoever adopted it has to notice its end
            time.sleep(0.01)
        other = starter.start(line("methods"), tmp_path / "other")
        assert not isinstance(other, ForkedProcess)
        assert other.wait() == 0


def test_it_forks_with_one_thread_alone(tmp_path):
    with Starter(threads=2) as starter:
        process = starter.start(line("methods"), tmp_path / "log")
        assert not isinstance(process, ForkedProcess)
        assert process.wait() == 0


def test_no_thread_is_lost_in_a_fork(starter, tmp_path):
    starter.start(line("methods"), tmp_path / "log").wait()
    threads = [path.read_text().strip() for path in Path(f"/proc/{starter._server._process.pid}/task").glob("*/comm")]
    # jemalloc (of pyarrow) begins its thread anew in a child.
    assert len([name for name in threads if name != "jemalloc_bg_thd"]) == 1


@pytest.mark.parametrize(
    ("settings", "on_cpu"),
    [({"use_cpu": True}, True), ({"device": "cpu"}, True), ({"device": "auto"}, False), ({}, False)],
)
def test_what_leaves_accelerators_alone(settings, on_cpu):
    assert Command("train", settings, Path("done")).on_cpu is on_cpu
