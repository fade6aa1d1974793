"""When engines are run, and that no test of theirs can wait for ever; no engine is needed here."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import pytest
from engine_servers import beside, killed_at
from opt_in import ASKED, only_when_asked_for


@pytest.mark.parametrize("asked", [None, "", "llama"])
def test_an_engine_is_run_only_where_it_is_asked_for(monkeypatch, asked):
    monkeypatch.delenv(ASKED, raising=False)
    if asked is not None:
        monkeypatch.setenv(ASKED, asked)
    with pytest.raises(pytest.skip.Exception, match=r"make test-vllm \(which sets ATTNPO_TEST_ENGINE=vllm\)"):
        only_when_asked_for("vllm")


def test_the_makefile_asks_for_it(monkeypatch):
    makefile = Path(__file__).parents[2].joinpath("Makefile").read_text()
    for engine in ("vllm", "llama"):
        monkeypatch.setenv(ASKED, engine)
        only_when_asked_for(engine)
        assert f"{ASKED}={engine} " in makefile


class Restarted:
    """Notes what is done to a server."""

    def __init__(self) -> None:
        self.done: list[str] = []

    def kill(self) -> None:
        self.done.append("kill")

    def start(self) -> None:
        self.done.append("start")


def test_a_server_is_killed_once_the_rows_are_there(tmp_path):
    server, rows = Restarted(), tmp_path / "rows"
    with killed_at(server, rows, 2):
        rows.write_text("a\n")
        time.sleep(0.05)
        assert server.done == []
        rows.write_text("a\nb\n")
        until = time.monotonic() + 60
        while len(server.done) < 2 and time.monotonic() < until:
            time.sleep(0.01)
    assert server.done == ["kill", "start"]


def test_rows_that_never_come_end_the_test(tmp_path):
    server = Restarted()
    with pytest.raises(AssertionError, match="never had 2 lines"), killed_at(server, tmp_path / "rows", 2):
        pass
    assert server.done == []


def test_a_failure_of_the_block_is_not_covered_by_the_thread(tmp_path):
    with pytest.raises(ZeroDivisionError), killed_at(Restarted(), tmp_path / "rows", 2):
        _ = 1 / 0


def test_work_that_does_not_end_is_left_behind():
    stuck = threading.Event()
    with pytest.raises(AssertionError, match=r"has not ended 0\.1 s after it"), beside(lambda over: stuck.wait(), 0.1):
        pass
    stuck.set()
