"""The trusted process that starts programs, one after another, each in a new sandbox.

It is a plain interpreter without the parent's environment, modules or memory. It sees neither code, input nor output of
a program: these are files that the parent hands over and that only the program's own process reads or writes, so that
nothing of one program is left in memory from which the next one is forked. Expected outputs never leave the parent.

Messages are lines of JSON over a stream socket. The first describes the job (see `serve`); each further one is a
program, with three files: code, input, output. The parent's end closing means: kill what runs, and end.
"""

from __future__ import annotations

import contextlib
import json
import os
import resource
import select
import shutil
import signal
import socket
import sys
import tempfile
import threading
import time
from dataclasses import dataclass
from typing import Any, NoReturn

from attnpo.sandbox import linux
from attnpo.sandbox.isolation import Plan, confine, enter_namespaces, give_up_rights, probe
from attnpo.sandbox.limits import Limits
from attnpo.sandbox.program import CODE_FD, RESULT_FD, load_prelude, run_program

BOOTSTRAP = """
import os, resource, sys, types
if sys.argv[1] == "first":
    # Deep recursion needs a large stack, and its place in memory is chosen when a program starts.
    _, hard = resource.getrlimit(resource.RLIMIT_STACK)
    size = 2**28 if hard == resource.RLIM_INFINITY else min(hard, 2**28)
    resource.setrlimit(resource.RLIMIT_STACK, (size, hard))
    os.execv(sys.executable, [*sys.orig_argv[:-3], "second", *sys.argv[2:]])
source = sys.argv[3]
for name in ("attnpo", "attnpo.sandbox"):
    package = types.ModuleType(name)
    package.__path__ = [os.path.join(source, *name.split(".")[1:])]
    sys.modules[name] = package
from attnpo.sandbox.launcher import main
main(int(sys.argv[2]))
"""
"""Python code that starts a launcher: only modules of this folder are imported, no package around them."""

_MESSAGE = 65536
_SMALLEST_STACK = 2**18
_REAP_SECONDS = 10.0
_FOLDER_CHECK_SECONDS = 0.02
_HIGH_FD = 200
_RAISED, _KILLED = 1, 128


@dataclass(frozen=True)
class Run:
    """One program and its sandbox.

    Attributes:
        plan: what it shares with the launcher's other sandboxes.
        limits: what the program may use.
        files: code, input, output.
        folder: the program's own folder, empty where the private root brings one.
        function: the function to call, None to run the code as a program.
        import_path: the program's `sys.path`.
        trouble: pipe for the reason why a layer could not be put up.
    """

    plan: Plan
    limits: Limits
    files: list[int]
    folder: str
    function: str | None
    import_path: list[str]
    trouble: int


def main(connection: int) -> None:
    """Serve the parent over the socket with this file number."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    linux.adopt_orphans()
    load_prelude()
    serve(socket.socket(fileno=connection))


def serve(parent: socket.socket) -> None:
    """Answer requests until the parent closes its end.

    The first request has `layers` (those wanted), `readable`, `folder` (see `Plan`), `packages` (folders that
    programs may import from) and `probe` (whether the layers have yet to be tried); its reply `layers` gives for each
    why it is not in place, or null. Every other one has `function` and `limits`; its reply is
    `{"status": …, "cpu_seconds": …, "wall_seconds": …}` or `{"broken": reason}`.
    """
    job, _ = _receive(parent)
    if job is None:
        return
    plan = Plan(job["layers"], job["readable"], job["folder"], os.getpid())
    layers = probe(plan) if job["probe"] else dict.fromkeys(job["layers"])
    plan = Plan(
        [name for name, missing in layers.items() if missing is None], plan.readable, plan.folder, plan.launcher
    )
    import_path = ["", *(path for path in sys.path if path), *job["packages"]]
    _send(parent, {"layers": layers})
    while True:
        request, files = _receive(parent)
        if request is None:
            # A parent that was killed could not remove it.
            shutil.rmtree(plan.folder, ignore_errors=True)
            return
        try:
            reply = run(plan, request, files, parent, import_path)
        finally:
            for file in files:
                os.close(file)
        _send(parent, reply)


def run(
    plan: Plan, request: dict[str, Any], files: list[int], parent: socket.socket, import_path: list[str]
) -> dict[str, Any]:
    """Run one program in a new sandbox, wait for its end, and leave nothing of it behind.

    Returns:
        `status`: `finished`, `failed` (an exception or a signal), `time`, `files` (its folder grew too large); or
        `broken`, with the reason, where a layer could not be put up.
    """
    limits = Limits(**request["limits"])
    folder = "" if "private_root" in plan.layers else _make_folder(plan)
    alive_read, alive = os.pipe()
    trouble_read, trouble = os.pipe()
    start = time.monotonic()
    outer = os.fork()
    if outer == 0:
        os.close(alive_read)
        os.close(trouble_read)
        _outer(Run(plan, limits, files, folder, request["function"], import_path, trouble))
    os.close(alive)
    os.close(trouble)
    status = _wait(alive_read, parent, start + limits.wall_seconds, folder, limits)
    if status != "finished":
        os.kill(outer, signal.SIGKILL)
    _, code, usage = os.wait4(outer, 0)
    wall = time.monotonic() - start
    _end_descendants()
    reason = os.read(trouble_read, 1000).decode(errors="replace")
    os.close(alive_read)
    os.close(trouble_read)
    if folder:
        shutil.rmtree(folder, ignore_errors=True)
    if reason:
        return {"broken": reason}
    if status == "finished" and code != 0:
        status = "failed"
    cpu = usage.ru_utime + usage.ru_stime
    if cpu > limits.cpu_seconds:
        status = "time"
    return {"status": status, "cpu_seconds": cpu, "wall_seconds": wall}


def _outer(run: Run) -> NoReturn:
    """Enter the namespaces, start their first process, and end as it ends."""
    try:
        linux.die_with_parent(run.plan.launcher)
        os.setsid()
        enter_namespaces(run.plan, run.limits, run.files[1], run.folder)
        own = os.getpid()
        first = os.fork()
        if first == 0:
            _first(run, own)
        os.close(run.trouble)
        _, status = os.waitpid(first, 0)
        os._exit(_code(status))
    except BaseException as error:
        _report(run.trouble, error)
    finally:
        os._exit(_RAISED)


def _first(run: Run, parent: int) -> NoReturn:
    """Give up all rights, start the program, and end as it ends: the kernel then ends all it left behind."""
    try:
        give_up_rights(run.plan)
        linux.hide_memory()
        linux.die_with_parent(0 if "pid_namespace" in run.plan.layers else parent)
        own = os.getpid()
        child = os.fork()
        if child == 0:
            linux.die_with_parent(own)
            _start(run)
        os.close(run.trouble)
        while True:
            ended, status = os.wait()
            if ended == child:
                os._exit(_code(status))
    except BaseException as error:
        _report(run.trouble, error)
    finally:
        os._exit(_RAISED)


def _start(run: Run) -> NoReturn:
    """Arrange the files, put up the last layers, and become the program."""
    trouble = run.trouble
    try:
        # First out of the way of the low numbers that the program gets.
        code, given, output, trouble = (
            os.dup2(file, _HIGH_FD + n, inheritable=False) for n, file in enumerate([*run.files, run.trouble])
        )
        nothing = os.open("/dev/null", os.O_RDWR)
        printed, returned = (output, nothing) if run.function is None else (nothing, output)
        for file, number in ((given, 0), (printed, 1), (nothing, 2), (code, CODE_FD), (returned, RESULT_FD)):
            os.dup2(file, number)
        trouble = os.dup2(trouble, RESULT_FD + 1)
        os.closerange(RESULT_FD + 2, resource.getrlimit(resource.RLIMIT_NOFILE)[0])
        # Else each thread takes as much of the address space as the main stack may grow to, and few fit. Half of the
        # memory holds all threads that are allowed; a program may ask for larger stacks.
        threading.stack_size(max(_SMALLEST_STACK, run.limits.memory_bytes // (2 * run.limits.tasks)))
        confine(run.plan, run.limits, run.folder)
        os.close(trouble)
    except BaseException as error:
        _report(trouble, error)
        os._exit(_RAISED)
    run_program(run.function, run.import_path)


def _wait(alive: int, parent: socket.socket, deadline: float, folder: str, limits: Limits) -> str:
    """Wait until the outer process has ended; return `finished`, or why it must be ended."""
    watch = select.poll()
    watch.register(alive, select.POLLIN)
    watch.register(parent, select.POLLIN)
    while (remaining := deadline - time.monotonic()) > 0:
        pause = min(remaining, _FOLDER_CHECK_SECONDS) if folder else remaining
        ready = [file for file, _ in watch.poll(pause * 1000 + 1)]
        if parent.fileno() in ready:
            return "abandoned"
        if ready:
            return "finished"
        if folder and not _folder_within(folder, limits):
            return "files"
    return "time"


def _folder_within(folder: str, limits: Limits) -> bool:
    count = size = 0
    for path, folders, names in os.walk(folder):
        count += len(folders) + len(names)
        for name in names:
            with contextlib.suppress(OSError):
                size += os.lstat(os.path.join(path, name)).st_size
        if count > limits.folder_files or size > limits.folder_bytes:
            return False
    return True


def _make_folder(plan: Plan) -> str:
    folder = tempfile.mkdtemp(dir=plan.folder)
    if "separate_user" in plan.layers:
        os.chown(folder, plan.user, plan.user)
    return folder


def _end_descendants() -> None:
    """Kill what outlived its parents and came to this process, until nothing is left."""
    deadline = time.monotonic() + _REAP_SECONDS
    while time.monotonic() < deadline:
        try:
            ended, _ = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return
        if ended == 0:
            for child in _children():
                with contextlib.suppress(ProcessLookupError):
                    os.kill(child, signal.SIGKILL)
            time.sleep(0.0005)
    raise RuntimeError("processes of a program could not be ended")


def _children() -> list[int]:
    own, found = str(os.getpid()), []
    for name in os.listdir("/proc"):
        if name.isdigit():
            with contextlib.suppress(OSError), open(f"/proc/{name}/stat") as file:
                if file.read().rpartition(")")[2].split()[1] == own:
                    found.append(int(name))
    return found


def _code(status: int) -> int:
    code = os.waitstatus_to_exitcode(status)
    return code if code >= 0 else _KILLED - code


def _report(trouble: int, error: BaseException) -> None:
    os.write(trouble, f"{type(error).__name__}: {error}".encode(errors="replace")[:1000])


def _receive(parent: socket.socket) -> tuple[dict[str, Any] | None, list[int]]:
    """Return the next message and the files that came with it, None when the parent is gone."""
    text, files = b"", []
    while not text.endswith(b"\n"):
        part, received, _, _ = socket.recv_fds(parent, _MESSAGE, 3)
        files += received
        if not part:
            return None, files
        text += part
    return json.loads(text), files


def _send(parent: socket.socket, reply: dict[str, Any]) -> None:
    with contextlib.suppress(BrokenPipeError):
        parent.sendall(json.dumps(reply).encode() + b"\n")


if __name__ == "__main__":
    sys.exit("started by attnpo.sandbox.client")
