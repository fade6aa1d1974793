"""`python -m attnpo.cli.forking`: loads the libraries once, then forks a command for each line it reads.

Imports take a good part of a small model's command. One line of JSON on standard input asks for a command
(`argv`, `log`); lines on standard output say that it began (`pid`) and how it ended (`pid`, `code`).
"""

from __future__ import annotations

import importlib
import json
import os
import select
import signal
import sys
from collections.abc import Sequence
from typing import BinaryIO

from attnpo.cli.main import main as run_command

PRELOADED = (
    "attnpo.cli.train",
    "attnpo.cli.evaluate",
    "attnpo.workbench.training",
    "attnpo.workbench.evaluating",
    "matplotlib.pyplot",
)
"""What the commands of an experiment import, all that takes seconds of it."""
POLL_SECONDS = 0.05


def serve(requests: BinaryIO, replies: int) -> Sequence[str] | None:
    """Fork a command for each line of `requests`, and write how each ended to the file descriptor `replies`.

    Returns:
        In every child the arguments of its command; in the parent None, once there are no more lines.
    """
    children: set[int] = set()
    while True:
        ready, _, _ = select.select([requests], [], [], POLL_SECONDS if children else None)
        if ready:
            line = requests.readline()
            if not line:
                return None
            request = json.loads(line)
            pid = os.fork()
            if pid == 0:
                os.close(replies)
                _write_to(request["log"])
                return request["argv"]
            children.add(pid)
            _say(replies, pid=pid)
        for pid in list(children):
            ended, status = os.waitpid(pid, os.WNOHANG)
            if ended:
                children.remove(pid)
                _say(replies, pid=pid, code=os.waitstatus_to_exitcode(status))


def _say(replies: int, **what: int) -> None:
    os.write(replies, json.dumps(what).encode() + b"\n")


def _write_to(log: str) -> None:
    file = os.open(log, os.O_WRONLY | os.O_APPEND)
    os.dup2(file, 1)
    os.dup2(file, 2)
    os.close(file)


def main() -> None:
    """Serve; a child returns from `serve` and becomes its command, with the end that an interpreter has."""
    requests, replies = os.fdopen(os.dup(0), "rb", buffering=0), os.dup(1)
    nothing = os.open(os.devnull, os.O_RDWR)
    os.dup2(nothing, 0)
    os.dup2(nothing, 1)  # what libraries print while they load is no reply
    # A terminal's Ctrl-C and a launcher's SIGTERM go to the whole group. Here they wait for ever; in a child, until it
    # has become its command, so that none is lost.
    before = signal.pthread_sigmask(signal.SIG_BLOCK, (signal.SIGINT, signal.SIGTERM))
    for name in PRELOADED:
        importlib.import_module(name)
    argv = serve(requests, replies)
    if argv is not None:
        requests.close()
        sys.argv = ["attnpo", *argv]
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
        run_command()


if __name__ == "__main__":
    main()
