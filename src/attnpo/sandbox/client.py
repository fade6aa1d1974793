"""The parent's side of the sandbox: start a launcher, hand it programs, kill it when it does not answer."""

from __future__ import annotations

import contextlib
import fcntl
import functools
import json
import os
import select
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import weakref
from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from attnpo.errors import ConfigError
from attnpo.sandbox.isolation import LAYERS
from attnpo.sandbox.launcher import BOOTSTRAP
from attnpo.sandbox.limits import Limits
from attnpo.sandbox.paths import package_paths, readable_paths

Status = Literal["finished", "failed", "time", "files", "output"]

_NEEDED = {
    "the network": ("network_namespace", "seccomp"),
    "other processes": ("pid_namespace", "seccomp"),
    "other files": ("private_root", "landlock", "separate_user"),
}
"""What a program must be kept from, and the layers of which one is enough for it."""

_START_SECONDS = 120.0
_GRACE_SECONDS = 20.0
# Nothing of the parent's environment: it may hold keys, and settings of Python.
_ENVIRONMENT = {
    "HOME": "/tmp",
    "LANG": "C.UTF-8",
    "LC_ALL": "C.UTF-8",
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "PATH": "/usr/bin:/bin",
    "PYTHONHASHSEED": "0",
    "PYTHONUTF8": "1",
    "TMPDIR": "/tmp",
}
_SEALS = fcntl.F_SEAL_WRITE | fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SEAL


@dataclass(frozen=True)
class Outcome:
    """How a program ended.

    Attributes:
        status: `finished`; `failed`: an exception or a signal ended it; `time`, `files`, `output`: it exceeded a limit.
        output: what it printed, or the value it returned, as JSON; empty unless it finished.
        cpu_seconds: processor time it took, the sandbox's own few milliseconds included.
        wall_seconds: the same on the clock.
    """

    status: Status
    output: str
    cpu_seconds: float
    wall_seconds: float


class Sandbox:
    """One launcher, started when first needed, that runs one program at a time, each in a new sandbox.

    It ends with its parent: at `close`, at interpreter exit, and when the parent is killed, along with whatever runs.
    """

    def __init__(self, allow_weak: bool = False, layers: Collection[str] = LAYERS):
        """Describe the sandbox; nothing is started.

        Args:
            allow_weak: run programs even where one of the needed kinds of isolation cannot be had.
            layers: the layers that are put up where the kernel allows them.

        """
        self._allow_weak = allow_weak
        self._wanted = tuple(layers)
        self._process: subprocess.Popen[bytes] | None = None
        self._connection: socket.socket | None = None
        self._stop: weakref.finalize | None = None
        self._owner = os.getpid()

    def run(self, code: str, input_text: str, function: str | None = None, limits: Limits | None = None) -> Outcome:
        """Run a program and return how it ended.

        Args:
            code: Python code.
            input_text: standard input; for a function its arguments, one JSON value a line.
            function: the function or method of `class Solution` to call, None to run the code as a program.
            limits: what it may use, None for the default.

        Raises:
            ConfigError: the launcher cannot be started, or the sandbox lacks a needed layer.
        """
        limits = limits or Limits()
        with contextlib.ExitStack() as stack:
            files = [_memory_file(stack, text) for text in (code, input_text, None)]
            try:
                self._ready()
                request = {"function": function, "limits": asdict(limits)}
                deadline = time.monotonic() + limits.wall_seconds + _GRACE_SECONDS
                reply = self._exchange(request, deadline, files)
            except BaseException:
                # Interrupted halfway, the launcher would answer the next program with this one's end.
                self.close()
                raise
            if reply is None:
                self.close()
                return Outcome("failed", "", 0.0, 0.0)
            if "broken" in reply:
                raise ConfigError(f"verifier code: the sandbox could not be put up: {reply['broken']}")
            status, output = reply["status"], ""
            if status == "finished":
                if os.fstat(files[2]).st_size >= limits.output_bytes:
                    status = "output"
                else:
                    os.lseek(files[2], 0, os.SEEK_SET)
                    with open(files[2], encoding="utf-8", errors="replace", newline="\n", closefd=False) as file:
                        output = file.read()
            return Outcome(status, output, reply["cpu_seconds"], reply["wall_seconds"])

    def layers(self) -> Mapping[str, str | None]:
        """Return for each layer None where it is in place, else why it is not.

        Raises:
            ConfigError: the launcher cannot be started.
        """
        return _probe(self._wanted)

    def check_ready(self) -> None:
        """Check that programs can be contained here.

        Raises:
            ConfigError: they cannot, or the launcher cannot be started.
        """
        layers = _probe(self._wanted)
        if not self._allow_weak:
            _refuse_weak(layers)

    def close(self) -> None:
        """Kill the launcher, with the program it runs."""
        if self._stop is not None:
            self._stop()
        self._process = self._connection = self._stop = None

    def _ready(self) -> None:
        if self._owner != os.getpid():
            # After a fork the launcher belongs to the other process.
            if self._stop is not None:
                self._stop.detach()
            self._process, self._connection, self._stop, self._owner = None, None, None, os.getpid()
        if self._process is not None and self._process.poll() is None:
            return
        self.close()
        self.check_ready()
        self._start([name for name, missing in self.layers().items() if missing is None], probe=False)

    def _start(self, layers: Collection[str], probe: bool) -> Mapping[str, str | None]:
        ours, theirs = socket.socketpair()
        folder = tempfile.mkdtemp(prefix="attnpo-code-")
        os.chmod(folder, 0o711)
        source = str(Path(__file__).parents[1])
        arguments = [sys.executable, "-S", "-s", "-B", "-c", BOOTSTRAP, "first", str(theirs.fileno()), source]
        self._process = subprocess.Popen(
            arguments,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            env=_ENVIRONMENT | ({"MALLOC_ARENA_MAX": "1"} if _counts_tasks(layers) else {}),
            cwd="/",
            pass_fds=[theirs.fileno()],
            start_new_session=True,
        )
        theirs.close()
        self._connection = ours
        self._stop = weakref.finalize(self, _kill, self._process, ours, folder, os.getpid())
        job = {
            "layers": list(layers),
            "probe": probe,
            "readable": readable_paths(),
            "packages": package_paths(),
            "folder": folder,
        }
        reply = self._exchange(job, time.monotonic() + _START_SECONDS)
        if reply is None:
            raise ConfigError("verifier code: the sandbox's launcher did not start; see the messages above")
        return reply["layers"]

    def _exchange(
        self, message: Mapping[str, Any], deadline: float, files: Collection[int] = ()
    ) -> dict[str, Any] | None:
        """Send a message with open files and return the reply, None when the deadline passed or the launcher ended."""
        connection = self._connection
        assert connection is not None
        received = b""
        try:
            socket.send_fds(connection, [json.dumps(message).encode() + b"\n"], list(files))
            poll = select.poll()
            poll.register(connection, select.POLLIN)
            while not received.endswith(b"\n"):
                remaining = deadline - time.monotonic()
                if remaining <= 0:
                    return None
                if poll.poll(remaining * 1000 + 1):
                    part = connection.recv(65536)
                    if not part:
                        return None
                    received += part
        except (BrokenPipeError, ConnectionResetError):
            return None
        return json.loads(received)


def sandbox_layers(layers: Collection[str] = LAYERS) -> Mapping[str, str | None]:
    """Return for each layer of the sandbox None where it is in place on this machine, else why it is not.

    Raises:
        ConfigError: the launcher cannot be started.
    """
    return Sandbox(layers=layers).layers()


@functools.cache
def _probe(wanted: tuple[str, ...]) -> Mapping[str, str | None]:
    trial = Sandbox(layers=wanted)
    try:
        return trial._start(wanted, probe=True)
    finally:
        trial.close()


def _counts_tasks(layers: Collection[str]) -> bool:
    """Whether the kernel keeps a program's threads to their number: not root's own, unless they have another user.

    Then they may share one heap, and all that are allowed fit. Else a heap for each, 64 MiB of the address space, is
    what bounds their number.
    """
    return os.getuid() != 0 or bool({"separate_user", "user_namespace"} & set(layers))


def _refuse_weak(layers: Mapping[str, str | None]) -> None:
    for what, names in _NEEDED.items():
        if all(layers[name] is not None for name in names):
            reasons = "; ".join(f"{name}: {layers[name]}" for name in names)
            raise ConfigError(
                f"verifier code: programs cannot be kept from {what} here ({reasons}); run where the kernel allows one "
                "of these, or set allow_weak_sandbox if you trust the code"
            )


def _memory_file(stack: contextlib.ExitStack, text: str | None) -> int:
    """Return a file in memory that holds `text` and cannot be changed, or one to write to where `text` is None."""
    file = os.memfd_create("program", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    stack.callback(os.close, file)
    if text is not None:
        data = memoryview(text.encode("utf-8", "replace"))
        while data:
            data = data[os.write(file, data) :]
        os.lseek(file, 0, os.SEEK_SET)
        fcntl.fcntl(file, fcntl.F_ADD_SEALS, _SEALS)
    return file


def _kill(process: subprocess.Popen[bytes], connection: socket.socket, folder: str, owner: int) -> None:
    """End the launcher with everything it started, unless this process is only a fork of its parent."""
    if owner != os.getpid():
        return
    connection.close()
    if process.poll() is None:
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
    shutil.rmtree(folder, ignore_errors=True)
