"""A server of an engine in a process of its own on 127.0.0.1: started, waited for, killed, started again."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import psutil
from safetensors.torch import load_file, save_file

from attnpo.sampling import SampleRequest, SamplingParams

START_SECONDS = 900.0


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as free:
        return int(free.getsockname()[1])


class EngineServer:
    """A server that runs while the `with` block does.

    Attributes:
        port: where it listens.
        base_url: its address, with its version.
        starts: seconds that each of its starts took.
    """

    def __init__(
        self, command: Callable[[int], Sequence[str]], log: Path, environment: Mapping[str, str] | None = None
    ) -> None:
        """Keep what is needed.

        Args:
            command: the command that serves at a port.
            log: file for what it prints.
            environment: variables beside this process's own.
        """
        self.port = free_port()
        self.base_url = f"http://127.0.0.1:{self.port}/v1"
        self.starts: list[float] = []
        self._command, self._log = list(command(self.port)), log
        self._environment = {**os.environ, "HF_HUB_OFFLINE": "1", **(environment or {})}
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> EngineServer:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()

    def start(self) -> None:
        """Start it, and wait until it is healthy."""
        with self._log.open("ab") as output:
            self._process = process = subprocess.Popen(
                self._command, stdout=output, stderr=subprocess.STDOUT, env=self._environment
            )
        begin = time.monotonic()
        while not self.healthy():
            assert process.poll() is None, self._said()
            assert time.monotonic() < begin + START_SECONDS, self._said()
            time.sleep(0.2)
        self.starts.append(time.monotonic() - begin)

    def healthy(self) -> bool:
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        try:
            with opener.open(f"http://127.0.0.1:{self.port}/health", timeout=5) as reply:
                return bool(reply.status == 200)
        except OSError:
            return False

    def kill(self) -> None:
        """Kill it and every process it started, as `kill -9` does."""
        if self._process is None:
            return
        if psutil.pid_exists(self._process.pid):
            top = psutil.Process(self._process.pid)
            for process in [*top.children(recursive=True), top]:
                os.kill(process.pid, signal.SIGKILL)
        self._process.wait()
        self._process = None

    def _said(self) -> str:
        return self._log.read_text(errors="replace")[-4000:]


@contextmanager
def beside(work: Callable[[threading.Event], None], seconds: float = START_SECONDS) -> Iterator[None]:
    """Do some work in a thread of its own while the block runs; what it raises is raised when the block has ended.

    Args:
        work: is given an event, which is set when the block ends.
        seconds: how long the work may go on after that.
    """
    over, raised = threading.Event(), []

    def run() -> None:
        try:
            work(over)
        except BaseException as error:
            raised.append(error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join(seconds)
    assert not thread.is_alive(), f"what was done beside the block has not ended {seconds:g} s after it"
    if raised:
        raise raised[0]


def killed_at(server: EngineServer, rows: Path, count: int, away: float = 0.0) -> AbstractContextManager[None]:
    """Kill a server once a file has so many lines, and start it again, while the block runs.

    It is an error where the block ends before the file has them.

    Args:
        server: the server.
        rows: the file.
        count: how many lines.
        away: seconds between the kill and the new start.
    """

    def kill(over: threading.Event) -> None:
        while not rows.exists() or rows.read_bytes().count(b"\n") < count:
            assert not over.wait(0.01), f"{rows} never had {count} lines: the server was not killed"
        server.kill()
        time.sleep(away)
        server.start()

    return beside(kill)


def same_ids(
    sampler: Any,
    asked: Sequence[SampleRequest],
    ours: Sequence[list[int]],
    params: SamplingParams,
    name: str,
    figure: Callable[[str], None],
) -> None:
    """Hold an engine's responses against our sampler's, token for token, and note how many are the same."""
    found = dict(sampler.sample(asked, params))
    sampler.close()
    assert all(response.exact_ids for response in found.values())
    same = [list(found[index].ids) == ours[index] for index in range(len(asked))]
    figure(f"{name}: {sum(same)} of {len(same)} greedy responses have our sampler's ids")
    assert all(same)


@contextmanager
def replaced_weights(model: Path) -> Iterator[None]:
    """Let a folder hold other weights while the block runs."""
    file = model / "model.safetensors"
    kept = file.read_bytes()
    tensors = load_file(file)
    tensors[max(tensors)] += 0.01
    save_file(tensors, file, metadata={"format": "pt"})
    try:
        yield
    finally:
        file.write_bytes(kept)
