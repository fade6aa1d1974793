"""Folders that are made once from other files: under a name that says what they were made of, whole or not at all."""

from __future__ import annotations

import functools
import hashlib
import logging
import os
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

from filelock import FileLock

from attnpo.errors import OutputError
from attnpo.output import write_atomically

logger = logging.getLogger(__name__)

CHUNK = 1 << 22


def cache_root() -> Path:
    """Return the folder of converted models: `attnpo/models` of XDG_CACHE_HOME, ~/.cache where that is not set."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "attnpo" / "models"


def made_once(name: str, make: Callable[[Path], None]) -> Path:
    """Return the folder of that name, made by `make` where it is not there yet.

    Of two processes that want it at once one makes it, the other waits. One that is killed leaves nothing of that name.

    Args:
        name: the folder's name, which says what it is made of.
        make: fills the folder that it is given.

    Raises:
        OutputError: it cannot be written.
    """
    root = cache_root()
    folder = root / name
    if folder.is_dir():
        return folder
    try:
        root.mkdir(parents=True, exist_ok=True)
        with FileLock(root / f"{name}.lock"):
            if folder.is_dir():
                return folder
            with tempfile.TemporaryDirectory(prefix=f".{name}-", dir=root) as place:
                make(Path(place) / name)
                os.replace(Path(place) / name, folder)
    except OSError as error:
        raise OutputError(
            f"{root}: cannot be written ({error.strerror or error}); set XDG_CACHE_HOME to a folder that can"
        ) from error
    return folder


def check_room(needed: int) -> None:
    """Check before long work that the disk has room for a folder.

    Args:
        needed: bytes that it will take.

    Raises:
        OutputError: it has not.
    """
    root = cache_root()
    free = shutil.disk_usage(next(place for place in (root, *root.parents) if place.is_dir())).free
    if needed > free:
        raise OutputError(
            f"{root}: the model takes {needed / 2**30:.1f} GiB there, and {free / 2**30:.1f} GiB are free; make room, "
            "or set XDG_CACHE_HOME to another disk"
        )


def remembered(key: str, find: Callable[[], str]) -> str:
    """Return what was found for a key before, or find and remember it; where nothing can be written it is found anew.

    Args:
        key: says all that the finding depends on.
        find: finds a line of text.
    """
    file = cache_root().with_name("found") / hashlib.sha256(key.encode()).hexdigest()[:32]
    if file.is_file() and (known := file.read_text(encoding="utf-8").strip()):
        return known
    found = find()
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(file, found)
    except OSError as error:
        logger.debug("%s: cannot be written (%s)", file, error)
    return found


def content_key(path: Path) -> str:
    """Return what tells a file's content from another's: 16 digits of its SHA-256."""
    stat = path.stat()
    return _digest(path, stat.st_size, stat.st_mtime_ns)


@functools.lru_cache
def _digest(path: Path, size: int, mtime_ns: int) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(CHUNK):
            digest.update(chunk)
    return digest.hexdigest()[:16]
