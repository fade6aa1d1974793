"""Output folders: refused before expensive work when they cannot be written or hold results of other settings."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import tempfile
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from attnpo.errors import OutputError


def prepare_output_dir(path: Path) -> Path:
    """Make the folder and prove that a file can be written into it.

    Raises:
        OutputError: it cannot be made or written.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=path):
            pass
    except OSError as error:
        raise OutputError(
            f"{path}: cannot write into this output folder ({error.strerror}); choose another one"
        ) from error
    return path


@contextmanager
def held(path: Path) -> Iterator[None]:
    """Keep other commands from writing into a folder; the system lets go of it when this process ends, however it does.

    Raises:
        OutputError: another command holds it.
    """
    folder = os.open(path, os.O_RDONLY)
    try:
        try:
            fcntl.flock(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise OutputError(
                f"{path}: another command is writing into this output folder; wait for its end, or choose another one"
            ) from error
        except OSError as error:
            if error.errno not in (errno.ENOLCK, errno.EOPNOTSUPP, errno.EBADF):  # file systems without locks
                raise
        yield
    finally:
        os.close(folder)


def prepare_output_file(path: Path) -> Path:
    """Make the file's folder and prove that the file can be written.

    Raises:
        OutputError: it cannot, or is a folder.
    """
    if path.is_dir():
        raise OutputError(f"{path}: is a folder; name a file")
    prepare_output_dir(path.parent)
    return path


def write_atomically(path: Path, text: str) -> None:
    """Write a text file so that a killed run leaves either the old file or the new one."""
    temporary = path.with_name(path.name + ".tmp")
    temporary.write_text(text, encoding="utf-8")
    os.replace(temporary, path)


def claim_settings(
    path: Path, settings: Mapping[str, Any], results: Iterable[Path] = (), optional: Collection[str] = ()
) -> None:
    """Write the settings a result file is made with, or check them against those already written.

    Args:
        path: the JSON file beside the results.
        settings: everything the results depend on, as JSON values.
        results: the files of results, there or not; one that is there without the JSON file was made by something else.
        optional: settings that earlier versions did not write; a file without one agrees with any value.

    Raises:
        OutputError: the file holds other settings (the message says which), is not readable as settings, or is missing
            while there are results.
    """
    asked = json.loads(json.dumps(settings))
    if not path.exists():
        if (stray := next((file for file in results if file.exists()), None)) is not None:
            raise OutputError(
                f"{stray}: there, and {path.name}, which says what it was made with, is not; "
                "move the file away or choose another output folder"
            )
        write_atomically(path, json.dumps(asked, indent=2, ensure_ascii=False) + "\n")
        return
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        unknown = {name: asked[name] for name in optional if name in asked and name not in found}
        differing = _differences({**found, **unknown}, asked)
    except (json.JSONDecodeError, AttributeError, TypeError) as error:
        raise OutputError(f"{path}: not a settings file; remove it or choose another output folder") from error
    if differing:
        raise OutputError(
            f"{path.parent}: holds results of other settings: {', '.join(differing)}; "
            "choose another output folder or remove this one"
        )


def _differences(found: Mapping[str, Any], asked: Mapping[str, Any], prefix: str = "") -> list[str]:
    """Return what differs, settings within settings under dotted names."""
    said: list[str] = []
    for name in sorted(found.keys() | asked.keys()):
        there, wanted = found.get(name), asked.get(name)
        if isinstance(there, dict) and isinstance(wanted, dict):
            said += _differences(there, wanted, f"{prefix}{name}.")
        elif there != wanted:
            said.append(f"{prefix}{name} (there {there!r}, asked {wanted!r})")
    return said
