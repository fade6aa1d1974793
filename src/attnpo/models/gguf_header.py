"""The beginning of a GGUF file: what it says of itself, read without its tensors.

Format: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md
"""

from __future__ import annotations

import mmap
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any, Final

from attnpo.errors import ConfigError
from attnpo.models.named import how_to_renew

MAGIC: Final = b"GGUF"
VERSIONS: Final = (2, 3)
SCALARS: Final = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}
TEXT, LIST = 8, 9


@dataclass(frozen=True)
class Tensor:
    """One tensor's place.

    Attributes:
        elements: numbers in it.
        kind: ggml's number of its type.
        start: first byte, counted from the beginning of the data.
    """

    elements: int
    kind: int
    start: int


@dataclass(frozen=True)
class Header:
    """What stands before the data.

    Attributes:
        fields: name → value of numbers and texts, number of entries of lists.
        tensors: name → its place.
        data: first byte of the data.
    """

    fields: Mapping[str, Any]
    tensors: Mapping[str, Tensor]
    data: int

    @property
    def elements(self) -> int:
        """Numbers in all tensors."""
        return sum(tensor.elements for tensor in self.tensors.values())


def read_header(path: Path, said: str) -> Header:
    """Read a file's header.

    Args:
        path: a file that begins with `MAGIC`.
        said: how messages name it.

    Raises:
        ConfigError: the file is cut off within it, or of another version.
    """
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        reader = _Reader(content)
        try:
            version = reader.number("I")
            if version not in VERSIONS:
                known = " and ".join(map(str, VERSIONS))
                raise ConfigError(f"{said}: GGUF version {version} is not read, only {known}; convert the model anew")
            tensors, fields = reader.number("Q"), reader.number("Q")
            values = {reader.text(): reader.value(reader.number("I")) for _ in range(fields)}
            places = dict(reader.tensor() for _ in range(tensors))
        except (struct.error, KeyError, UnicodeDecodeError) as error:
            raise ConfigError(
                f"{said}: is cut off or damaged (its header cannot be read); {how_to_renew(path)}"
            ) from error
        alignment = int(values.get("general.alignment", 32))
        return Header(values, places, -(-reader.at // alignment) * alignment)


class _Reader:
    def __init__(self, content: mmap.mmap) -> None:
        self.content, self.at = content, len(MAGIC)

    def number(self, form: str) -> Any:
        (value,) = struct.unpack_from(f"<{form}", self.content, self.at)
        self.at += struct.calcsize(f"<{form}")
        return value

    def text(self) -> str:
        length = self.number("Q")
        if length > len(self.content) - self.at:
            raise struct.error("a text ends behind the file")
        self.at += length
        return self.content[self.at - length : self.at].decode()

    def value(self, kind: int) -> Any:
        if kind == TEXT:
            return self.text()
        if kind != LIST:
            return self.number(SCALARS[kind])
        entry, count = self.number("I"), self.number("Q")
        if entry in SCALARS:
            self.at += count * struct.calcsize(f"<{SCALARS[entry]}")
        else:
            for _ in range(count):
                self.value(entry)
        if self.at > len(self.content):
            raise struct.error("a list ends behind the file")
        return count

    def tensor(self) -> tuple[str, Tensor]:
        name = self.text()
        shape = [self.number("Q") for _ in range(self.number("I"))]
        return name, Tensor(prod(shape), self.number("I"), self.number("Q"))
