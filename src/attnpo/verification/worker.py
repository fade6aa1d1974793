"""The child process that judges one pair of texts after another, for a parent that kills it when it takes too long.

Messages are lines of JSON. The first describes the job (see `serve`); the reply is `{"ready": true}` or
`{"failed": reason}`. Every further line is a list of texts: a pair to judge, or a single text whose normal form is
wanted. The reply is `{"verdict": bool}` or `{"form": text or null}`, else `{"exhausted": reason}` (out of memory or
recursion depth), `{"raised": reason}` (on these texts) or `{"failed": reason}` (on any).
"""

from __future__ import annotations

import contextlib
import faulthandler
import fcntl
import json
import os
import signal
import sys
import threading
import traceback
from collections.abc import Callable
from typing import Any, BinaryIO

from attnpo.errors import ConfigError
from attnpo.loading import load_function

BOOTSTRAP = (
    "import json, sys; job = json.loads(sys.stdin.buffer.readline()); sys.path[:] = job['path']; "
    "from attnpo.verification.worker import main; main(job)"
)
"""Python code that starts a worker: a plain interpreter, so the parent's main module is not imported again."""


def main(job: dict[str, Any]) -> None:
    """Serve the parent over standard input and output until it closes them, or is gone."""
    end_with_parent(job["lifeline"])
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # A judge that prints must not write into the replies.
    replies = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    serve(job, sys.stdin.buffer, replies)


def end_with_parent(lifeline: int) -> None:
    """Kill this process and all it started as soon as the parent is gone, whatever either of them is doing.

    Not prctl's PR_SET_PDEATHSIG: that fires when the parent's *thread* ends which started the child.

    Args:
        lifeline: read end of a pipe that nothing is ever written to and whose other end the parent alone holds.
    """
    if hasattr(fcntl, "F_SETSIG"):  # Linux: the kernel kills, even where code never lets go of the interpreter
        fcntl.fcntl(lifeline, fcntl.F_SETOWN, -os.getpgrp())
        fcntl.fcntl(lifeline, fcntl.F_SETSIG, signal.SIGKILL)
        fcntl.fcntl(lifeline, fcntl.F_SETFL, fcntl.fcntl(lifeline, fcntl.F_GETFL) | os.O_ASYNC)

    def watch() -> None:
        os.read(lifeline, 1)
        os.killpg(os.getpgrp(), signal.SIGKILL)

    threading.Thread(target=watch, daemon=True).start()


def serve(job: dict[str, Any], requests: BinaryIO, replies: BinaryIO) -> None:
    """Answer requests until they end.

    Args:
        job: `judge` (name `module:function` of a function of two texts), `normal_form` (name of a function of one text,
            null for none), `limit_seconds` for one request (the parent
            kills earlier; this ends a worker that it cannot kill), `memory_bytes` (address space, null for no limit).
        requests: lines of JSON, see the module.
        replies: receives lines of JSON.
    """
    try:
        judge = load_function(job["judge"], "verifier")
        normal_form = load_function(job["normal_form"], "verifier") if job["normal_form"] else None
    except ConfigError as error:
        _send(replies, {"failed": str(error)})
        return
    if job["memory_bytes"] is not None:
        _limit_memory(job["memory_bytes"])
    _send(replies, {"ready": True})
    with open(os.devnull, "w") as nowhere:
        for line in requests:
            # Fires from a thread of C, so even code that never lets go of the interpreter ends.
            faulthandler.dump_traceback_later(job["limit_seconds"], exit=True, file=nowhere)
            reply = _reply(judge, normal_form, json.loads(line))
            faulthandler.cancel_dump_traceback_later()
            _send(replies, reply)


def _reply(judge: Callable[..., Any], normal_form: Callable[..., Any] | None, texts: list[str]) -> dict[str, Any]:
    try:
        if normal_form is not None and len(texts) == 1:
            form = normal_form(*texts)
            if form is not None and not isinstance(form, str):
                return {"failed": f"{normal_form.__name__} {_returned(form)}, must return text or None"}
            return {"form": form}
        verdict = judge(*texts)
    except (MemoryError, RecursionError) as error:
        return {"exhausted": type(error).__name__}
    except Exception as error:  # whatever it is, the parent is told and decides what it means
        where = traceback.extract_tb(error.__traceback__)[-1]
        reason = " ".join(f"{type(error).__name__}: {error}".split())
        # A module that is not there is a broken installation, whatever the texts.
        kind = "failed" if isinstance(error, ImportError) else "raised"
        return {kind: f"raised {reason} ({os.path.basename(where.filename)}, line {where.lineno})"}
    if type(verdict).__name__ not in ("bool", "bool_"):
        return {"failed": f"{_returned(verdict)}, must return True or False"}
    return {"verdict": bool(verdict)}


def _returned(value: object) -> str:
    return f"returned {value!r:.80} ({type(value).__name__})"


def _limit_memory(memory_bytes: int) -> None:
    import resource  # not on every system

    _, hard = resource.getrlimit(resource.RLIMIT_AS)
    # macOS knows the limit and refuses to set it.
    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_AS, (memory_bytes, hard))


def _send(replies: BinaryIO, reply: dict[str, Any]) -> None:
    replies.write(json.dumps(reply).encode() + b"\n")
    replies.flush()
