"""Results kept as one JSON document: written whole or not at all, read back or refused in one line."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, ClassVar, Self

from pydantic import BaseModel, ValidationError

from attnpo.errors import AttnPOError, DataError
from attnpo.files import UserFile
from attnpo.output import write_atomically

_UNFINISHED = re.compile(rb'"complete":\s*false')


class Document(BaseModel):
    """A result with a file of its own."""

    REFUSED: ClassVar[type[AttnPOError]] = DataError
    """What is raised where it cannot be read."""
    MAKE: ClassVar[str]
    """What to do where there is no file; ends its message."""
    MEND: ClassVar[str]
    """What to do where a field is wrong; ends its message."""

    def save(self, path: Path) -> None:
        """Write the file."""
        write_atomically(path, self.to_text())

    def to_text(self) -> str:
        """Return what the file holds."""
        return self.model_dump_json(indent=2) + "\n"

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read the file.

        Raises:
            AttnPOError: it is missing or malformed; the line names file and field.
        """
        return cls.from_stored(UserFile(path, error=cls.REFUSED, hint=cls.MAKE).json(), path)

    @classmethod
    def from_stored(cls, stored: Any, path: Path) -> Self:
        """Return the document that a file's JSON value is; errors as in `load`."""
        try:
            return cls.model_validate(stored)
        except ValidationError as error:
            raise cls.REFUSED(f"{path}: field {first_problem(error)}; {cls.MEND}") from error


def is_complete(path: Path) -> bool:
    """Return whether an evaluation of all its problems lies at a path, without reading what it holds of each."""
    return path.is_file() and _UNFINISHED.search(path.read_bytes()) is None


def first_problem(error: ValidationError) -> str:
    """Return the first thing that pydantic finds wrong: the place, with dots, where there is one, and what."""
    first = error.errors(include_url=False)[0]
    message = " ".join(first["msg"].removeprefix("Value error, ").split())
    return ": ".join([*filter(None, [".".join(map(str, first["loc"]))]), message])
