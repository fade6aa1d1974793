"""Worker processes with a hard time limit for every item."""

from __future__ import annotations

import json
import logging
import os
import selectors
import signal
import subprocess
import sys
import threading
import time
import weakref
from collections.abc import Sequence
from typing import IO, Any

from attnpo.errors import ConfigError
from attnpo.ranges import SECONDS, WORKERS, check
from attnpo.verification.base import share_out
from attnpo.verification.worker import BOOTSTRAP

log = logging.getLogger(__name__)

_START_SECONDS = 120.0
_ORPHAN_GRACE_SECONDS = 2.0
_CHUNK = 65536


class Worker:
    """One child process, started when first needed and again after every interruption.

    The child is a fresh interpreter that imports the judge's module and nothing of the parent's (in particular neither
    torch nor the parent's main module). It ends with its parent: at `close`, at interpreter exit, and at once when the
    parent is killed.
    """

    def __init__(
        self,
        judge: str,
        timeout: float,
        memory_bytes: int | None = None,
        normal_form: str | None = None,
        lenient: bool = False,
    ):
        """Describe the job; nothing is started.

        Args:
            judge: name `module:function` of a function of two texts that returns a bool.
            timeout: seconds for one item, counted from when a ready worker gets it.
            memory_bytes: limit on the child's address space, None for none.
            normal_form: name `module:function` of a function of one text that returns a text or None.
            lenient: leave it to the caller where a function raises on its texts.
        """
        self._judge = judge
        self._lenient = lenient
        self._normal_form = normal_form
        self._timeout = timeout
        self._memory_bytes = memory_bytes
        self._process: subprocess.Popen[bytes] | None = None
        self._owner = os.getpid()
        self._stop: weakref.finalize | None = None

    def ask(self, *texts: str) -> dict[str, Any]:
        """Return the reply to a pair (`verdict`) or a single text (`form`).

        The reply has neither when the work had to be interrupted (too long, out of memory, crashed), or where the
        worker is lenient and the function raised (`raised`: what).

        Raises:
            ConfigError: a function cannot be imported, finds a module missing, or raises and the worker is not lenient,
                or the judge returns no bool.
        """
        try:
            process = self._ready()
            message = json.dumps(texts).encode() + b"\n"
            reply = _exchange(process, message, time.monotonic() + self._timeout)
        except BaseException:
            # Interrupted halfway, the child would answer the next item with this one's verdict.
            self.close()
            raise
        if reply is None:
            self.close()
            return {}
        if failed := reply.get("failed") or (None if self._lenient else reply.get("raised")):
            raise ConfigError(f"verifier {self._judge}: {failed}")
        return reply

    def close(self) -> None:
        """Kill the child, if there is one."""
        if self._stop is not None:
            self._stop()
        self._process = self._stop = None

    def _ready(self) -> subprocess.Popen[bytes]:
        if self._owner != os.getpid():
            # After a fork the child belongs to the other process.
            if self._stop is not None:
                self._stop.detach()
            self._process, self._stop, self._owner = None, None, os.getpid()
        if self._process is not None and self._process.poll() is None:
            return self._process
        self.close()
        held, lifeline = os.pipe()
        try:
            process = subprocess.Popen(
                [sys.executable, "-c", BOOTSTRAP],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                bufsize=0,
                start_new_session=True,
                pass_fds=(held,),
            )
        except BaseException:
            os.close(lifeline)
            raise
        finally:
            os.close(held)
        own_end = open(lifeline, "wb", buffering=0)  # noqa: SIM115
        self._process, self._stop = process, weakref.finalize(self, _kill, process, own_end, os.getpid())
        job = {
            "path": [entry or os.getcwd() for entry in sys.path],
            "judge": self._judge,
            "normal_form": self._normal_form,
            "lifeline": held,
            "limit_seconds": self._timeout + _ORPHAN_GRACE_SECONDS,
            "memory_bytes": self._memory_bytes,
        }
        reply = _exchange(process, json.dumps(job).encode() + b"\n", time.monotonic() + _START_SECONDS)
        if reply is None:
            raise ConfigError(f"verifier {self._judge}: its worker process did not start; see the messages above")
        if "failed" in reply:
            raise ConfigError(reply["failed"])
        return process


class WorkerPool:
    """Judges batches of pairs with a fixed number of workers; usable from any thread."""

    def __init__(
        self,
        judge: str,
        timeout: float = 5.0,
        workers: int = 1,
        memory_bytes: int | None = None,
        normal_form: str | None = None,
        lenient: bool = False,
    ):
        """Describe the workers; none is started.

        Args:
            judge: name `module:function` of a function of two texts that returns a bool.
            timeout: seconds for one pair.
            workers: number of processes.
            memory_bytes: limit on each process's address space, None for none.
            normal_form: name `module:function` of a function of one text that returns a text or None, where
                `normal_forms` is to be called.
            lenient: an answer on which a function raises is wrong, or has no normal form, and is logged; else it ends
                the run.

        Raises:
            ConfigError: `timeout` or `workers` is out of range.
        """
        check("verifier_timeout", timeout, SECONDS)
        check("verifier_workers", workers, WORKERS)
        self.interrupted = 0
        """Number of pairs so far that got no verdict and were counted wrong: interrupted, or the judge raised."""
        self._judge = judge
        self._timeout = timeout
        self._workers = [Worker(judge, timeout, memory_bytes, normal_form, lenient) for _ in range(workers)]
        self._lock = threading.Lock()

    def judge(self, pairs: Sequence[tuple[str, str]]) -> list[bool]:
        """Return the verdict for each pair; a pair that had to be interrupted is wrong.

        Raises:
            ConfigError: the judge cannot be imported or returns no bool, or it raises and the pool is not lenient.
        """
        with self._lock:
            replies = self._ask_all(pairs)
        raised = self._tell_raised(pairs, replies, "counted wrong")
        lost = sum("verdict" not in reply for reply in replies) - raised
        if lost:
            log.warning("interrupted %d of %d answers (limit %g s): counted wrong", lost, len(pairs), self._timeout)
        self.interrupted += lost + raised
        return [reply.get("verdict") is True for reply in replies]

    def normal_forms(self, texts: Sequence[str]) -> list[str | None]:
        """Return the normal form of each text, None where it has none or finding it had to be interrupted.

        Raises:
            ConfigError: the function cannot be imported or returns no text, or it raises and the pool is not lenient.
        """
        questions = [(text,) for text in texts]
        with self._lock:
            replies = self._ask_all(questions)
        raised = self._tell_raised(questions, replies, "without a normal form")
        if lost := sum("form" not in reply for reply in replies) - raised:
            log.warning(
                "interrupted finding the normal form of %d of %d answers (limit %g s)", lost, len(texts), self._timeout
            )
        return [reply.get("form") for reply in replies]

    def close(self) -> None:
        """Kill the workers; a later `judge` starts them again."""
        with self._lock:
            for worker in self._workers:
                worker.close()

    def _tell_raised(
        self, questions: Sequence[tuple[str, ...]], replies: Sequence[dict[str, Any]], outcome: str
    ) -> int:
        """Return on how many answers the function raised; a warning names the first of them."""
        failed = [number for number, reply in enumerate(replies) if "raised" in reply]
        if failed:
            log.warning(
                "verifier %s failed on %d of %d answers: %s; the first, %.100r, %s",
                self._judge,
                len(failed),
                len(replies),
                outcome,
                questions[failed[0]][0],
                replies[failed[0]]["raised"],
            )
        return len(failed)

    def _ask_all(self, questions: Sequence[tuple[str, ...]]) -> list[dict[str, Any]]:
        return share_out(questions, self._workers, lambda worker, question: worker.ask(*question))


def _exchange(process: subprocess.Popen[bytes], message: bytes, deadline: float) -> dict[str, Any] | None:
    """Send one line and return the reply, None when the deadline passed or the process ended."""
    assert process.stdin is not None
    assert process.stdout is not None
    source, target = process.stdout.fileno(), process.stdin.fileno()
    os.set_blocking(target, False)
    unsent, received = memoryview(message), bytearray()
    with selectors.DefaultSelector() as selector:
        selector.register(target, selectors.EVENT_WRITE)
        selector.register(source, selectors.EVENT_READ)
        while (remaining := deadline - time.monotonic()) > 0:
            for key, _ in selector.select(remaining):
                if key.fd == target:
                    try:
                        unsent = unsent[os.write(target, unsent[:_CHUNK]) :]
                    except BrokenPipeError:
                        return None
                    if not unsent:
                        selector.unregister(target)
                else:
                    chunk = os.read(source, _CHUNK)
                    if not chunk:
                        return None
                    received += chunk
                    if received.endswith(b"\n"):
                        return json.loads(received)
    return None


def _kill(process: subprocess.Popen[bytes], lifeline: IO[bytes], owner: int) -> None:
    """Kill the child with everything it started, unless this process is only a fork of its parent."""
    if owner != os.getpid():
        return
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    for stream in (process.stdin, process.stdout, lifeline):
        if stream is not None:
            stream.close()
