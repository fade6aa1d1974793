"""What tests of the sandbox share: which layers this machine has, and what runs below a process."""

from __future__ import annotations

import functools
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from attnpo.sandbox.client import sandbox_layers
from attnpo.sandbox.isolation import LAYERS

# Enough for each kind of isolation, each with other layers.
CONFIGURATIONS = {
    "every layer": LAYERS,
    "namespaces alone": tuple(layer for layer in LAYERS if layer not in ("seccomp", "landlock")),
    "filters alone": ("no_new_privileges", "seccomp", "landlock"),
}


@functools.cache
def available() -> dict[str, str | None]:
    return dict(sandbox_layers())


def need(*layers: str) -> None:
    """Skip the test where this machine lacks one of the layers."""
    for layer in layers:
        if available()[layer] is not None:
            pytest.skip(f"{layer}: {available()[layer]}")


def need_configuration(name: str) -> tuple[str, ...]:
    """Return the layers of a configuration; skip the test where they do not contain a program here."""
    if name == "filters alone":
        need("seccomp", "landlock")
    elif name == "namespaces alone":
        need("pid_namespace", "network_namespace", "private_root")
    elif available()["seccomp"] is not None:
        need("pid_namespace", "network_namespace")
    return tuple(CONFIGURATIONS[name])


def descendants(pid: int) -> set[int]:
    """Return the processes that `pid` started, directly or not, and that have not ended."""
    parents: dict[int, int] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                state, parent = (entry / "stat").read_text().rpartition(")")[2].split()[:2]
            except OSError:
                continue  # ended meanwhile
            if state != "Z":
                parents[int(entry.name)] = int(parent)
    found, new = set(), {pid}
    while new:
        new = {child for child, parent in parents.items() if parent in new} - found
        found |= new
    return found


def alive(pid: int) -> bool:
    """Return whether a process has not ended."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def wait_until(condition: Callable[[], bool], seconds: float = 30.0) -> bool:
    end = time.monotonic() + seconds
    while not condition() and time.monotonic() < end:
        time.sleep(0.02)
    return condition()


def fenced(code: str) -> str:
    """Return a response whose final answer is this code."""
    return f"<think>x</think>Here it is:\n```python\n{code}\n```\n"
