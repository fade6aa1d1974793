"""A judge that dies, hangs and raises, each on a response of its own; which ones, files in $FAULTS remember."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

KINDS = ("dies", "hangs", "raises")


def judge(response: str, solution: str) -> bool:
    folder = Path(os.environ["FAULTS"])
    for kind in KINDS:
        path = folder / kind
        if not path.exists() and not any(other.read_text() == response for other in folder.iterdir()):
            path.write_text(response)
        if path.read_text() == response:
            _fail(kind)
    return response.rpartition("</think>")[2].find(solution) >= 0


def _fail(kind: str) -> None:
    if kind == "dies":
        os.kill(os.getpid(), signal.SIGKILL)
    if kind == "hangs":
        time.sleep(600)
    raise ValueError("cannot read this answer")
