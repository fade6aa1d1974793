"""`run.json`: how to make a run folder again, and where it was made."""

from __future__ import annotations

import json
import os
import platform
import shlex
import subprocess
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import psutil

import attnpo
from attnpo.output import write_atomically

PACKAGES = ("attnpo", "torch", "transformers", "trl", "accelerate")
FILE = "run.json"


def write_about(
    folder: Path, command: str, arguments: Sequence[str], settings: Mapping[str, Any] | None = None
) -> None:
    """Write the command, its settings, versions, date, commit and machine beside its results.

    A folder that a larger command fills keeps what that one wrote.
    """
    if (folder / FILE).exists():
        return
    about = {
        "command": shlex.join(["attnpo", command, *map(str, arguments)]),
        "settings": dict(settings or {}),
        "versions": versions(PACKAGES),
        "date": today(),
        "commit": commit(),
        "machine": machine(),
    }
    write_atomically(folder / FILE, json.dumps(about, indent=2) + "\n")


def installed_version(package: str) -> str | None:
    """Return the version that pip installed; None where it installed none, as of a checkout on `PYTHONPATH`."""
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def versions(packages: Iterable[str]) -> dict[str, str]:
    """Return package → version, "unknown" for one that pip did not install; those that are not there are left out."""
    found = {package: installed_version(package) for package in packages}
    return {name: said or "unknown" for name, said in found.items() if said or find_spec(name) is not None}


def today() -> str:
    """Return the date, UTC."""
    return datetime.now(UTC).date().isoformat()


def commit() -> str | None:
    """Return the commit of this code, `+` behind it where files were changed since; None outside git."""
    source = Path(attnpo.__file__).resolve().parent
    said = []
    for command in (
        ("rev-parse", "--short=12", "HEAD"),
        ("status", "--porcelain", "--untracked-files=no", "--", source),
    ):
        try:
            done = subprocess.run(["git", "-C", str(source), *command], capture_output=True, text=True, timeout=30)
        except (OSError, subprocess.TimeoutExpired):
            return None
        if done.returncode != 0:
            return None
        said.append(done.stdout.strip())
    return f"{said[0]}+" if said[1] else said[0]


def machine() -> str:
    """Return what this machine is, without its name: processor, cores, memory, system, Python."""
    memory = psutil.virtual_memory().total / 2**30
    return (
        f"{_processor()}, {os.cpu_count()} cores, {memory:.0f} GiB, {platform.system()}, "
        f"Python {platform.python_version()}"
    )


def _processor() -> str:
    information = Path("/proc/cpuinfo")
    if information.is_file():
        for line in information.read_text(encoding="utf-8", errors="replace").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()
