"""What was paid for, on disk as it comes: JSON Lines that a run killed at any moment goes on with.

Beside the rows of `<stem>.jsonl` lies what they depend on, `<stem>.settings.json`.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Generic, TypeVar

from attnpo.errors import DataError
from attnpo.files import UserFile, parse_json
from attnpo.output import claim_settings, prepare_output_dir

Row = TypeVar("Row")
OPTIONAL = ("dtype", "verifier_source", "labeler_source")
"""Settings that rows of earlier versions may lack: which type their model was computed in is then not known, nor how a
function of the user's was written."""


class Ledger(Generic[Row]):
    """A JSON Lines file of results; half a line that a killed run left at its end is cut off."""

    def __init__(
        self,
        path: Path,
        parse: Callable[[str, str], Row],
        settings: Mapping[str, Any] | None = None,
        beside: Iterable[Path] = (),
    ) -> None:
        """Claim the file for the settings that its rows depend on.

        Args:
            path: the file; its folder is made, itself where the first row comes.
            parse: a row from its line and what messages call that line; raises an `AttnPOError` where it is none.
            settings: everything the rows depend on, as JSON values; None where another file says it. While there are no
                rows, as after a call that was ended before its first, others take their place.
            beside: further files that depend on these settings.

        Raises:
            OutputError: it holds rows made with other settings or, as nothing says, by another command; or its folder
                cannot be written.
        """
        self.path = path
        self._parse = parse
        prepare_output_dir(path.parent)
        if settings is not None:
            _claim(path, settings, (path, *beside))
        _cut_half_written_line(path)

    def rows(self) -> Iterator[tuple[str, Row]]:
        """Yield `(file and row, row)` of all that is there, one in memory at a time.

        Raises:
            AttnPOError: a line is no row.
        """
        if self.path.exists():
            for where, line in UserFile(self.path).lines():
                yield where, self._parse(line, where)

    def append(self, *lines: str) -> None:
        """Write rows, a line of JSON each; they are with the operating system when this returns."""
        with self.path.open("a", encoding="utf-8") as file:
            file.writelines(f"{line}\n" for line in lines)

    def keep(self, wanted: Callable[[Row], bool]) -> None:
        """Drop the rows that are not wanted; a kill leaves the old file or the new one."""
        temporary = self.path.with_name(f"{self.path.name}.tmp")
        with temporary.open("w", encoding="utf-8", newline="\n") as target:
            for where, line in UserFile(self.path).lines():
                if wanted(self._parse(line, where)):
                    target.write(line)
        os.replace(temporary, self.path)


def _claim(path: Path, settings: Mapping[str, Any], files: Iterable[Path]) -> None:
    filled = [file for file in files if file.exists() and file.stat().st_size]
    if not filled:
        settings_path(path).unlink(missing_ok=True)
    claim_settings(settings_path(path), settings, results=filled, optional=OPTIONAL)


def settings_path(path: Path) -> Path:
    """Return where the settings lie that a ledger was made with."""
    return path.with_name(f"{path.stem}.settings.json")


def json_row(kind: str, read: Callable[[Any], Row], mend: str = "remove it") -> Callable[[str, str], Row]:
    """Return a parser of rows that names a malformed one.

    Args:
        kind: what a row is, for the message ("a sampled response").
        read: the row from a JSON value; raises KeyError, TypeError or ValueError where it is none.
        mend: what to do about it.
    """

    def parse(line: str, where: str) -> Row:
        try:
            return read(parse_json(line))
        except (ValueError, KeyError, TypeError) as error:
            raise DataError(f"{where}: not {kind} ({error!r}); {mend}") from error

    return parse


def _cut_half_written_line(path: Path) -> None:
    """Cut off what follows a file's last line end, reading the end of the file alone."""
    if not path.exists():
        return
    with path.open("rb+") as file:
        size = end = file.seek(0, os.SEEK_END)
        while end > 0:
            start = max(0, end - 65536)
            file.seek(start)
            newline = file.read(end - start).rfind(b"\n")
            if newline >= 0:
                end = start + newline + 1
                break
            end = start
        if end < size:
            file.truncate(end)
