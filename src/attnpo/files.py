"""Files that a user names: text, JSON, JSON Lines, YAML, read or refused in one line that names file and fix."""

from __future__ import annotations

import json
import re
from collections.abc import Hashable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from attnpo.errors import AttnPOError, ConfigError, DataError, one_line

# Spreadsheets and some editors put a byte-order mark before the first character.
ENCODING = "utf-8-sig"
MERGE = "tag:yaml.org,2002:merge"
_HALF = re.compile("[\ud800-\udfff]")


@dataclass(frozen=True)
class UserFile:
    """One file.

    Attributes:
        path: where it lies.
        kind: what it is, for the message that it is not there ("head-set file").
        error: what is raised.
        name: how messages name it; its path if empty.
        hint: what to do where it cannot be read; the last words of every message.
    """

    path: Path
    kind: str = "file"
    error: type[AttnPOError] = DataError
    name: str = ""
    hint: str = ""

    def check(self) -> None:
        """Check that there is a file at the path.

        Raises:
            AttnPOError: there is none, or a folder.
        """
        if self.path.is_dir():
            raise self._refused(f"is a folder, not a {self.kind}")
        if not self.path.is_file():
            raise self._refused(f"no such {self.kind}")

    def text(self) -> str:
        """Return the text.

        Raises:
            AttnPOError: it is no file, cannot be read, or is not text in UTF-8.
        """
        self.check()
        try:
            return self.path.read_text(encoding=ENCODING)
        except OSError as error:
            raise self._refused(f"cannot be read ({error.strerror})") from error
        except UnicodeDecodeError as error:
            raise self._refused("not a text file in UTF-8") from error

    def json(self) -> Any:
        """Return the JSON value.

        Raises:
            AttnPOError: as in `text`, or it is not JSON.
        """
        text = self.text()
        try:
            return parse_json(text)
        except ValueError as error:
            raise self._refused(f"not valid JSON ({error})") from error

    def yaml(self) -> Any:
        """Return the YAML document.

        Raises:
            AttnPOError: as in `text`, or it is not YAML, sets a name twice, or contains itself.
        """
        text = self.text()
        try:
            document = yaml.load(text, Loader=_Loader)
        except yaml.MarkedYAMLError as error:
            raise self._refused(f"not valid YAML ({_marked(error)})") from error
        except yaml.YAMLError as error:
            raise self._refused(f"not valid YAML ({one_line(error)})") from error
        except RecursionError as error:
            raise self._refused("not valid YAML (nested too deeply)") from error
        return document

    def lines(self) -> Iterator[tuple[str, str]]:
        """Yield `(file and row, text)` of each line that is not blank; only a line feed ends one.

        Raises:
            AttnPOError: as in `text`.
        """
        self.check()
        try:
            with self.path.open("rb") as file:
                for number, line in enumerate(file, start=1):
                    where = f"{self.name or self.path}, row {number}"
                    try:
                        text = line.decode(ENCODING if number == 1 else "utf-8")
                    except UnicodeDecodeError as error:
                        if number == 1:
                            raise self._refused("not a text file in UTF-8") from error
                        raise self._refused("not text in UTF-8", where) from error
                    if number == 1 and "\0" in text:
                        raise self._refused("not a text file in UTF-8")
                    if text.strip():
                        yield where, text
        except OSError as error:
            raise self._refused(f"cannot be read ({error.strerror})") from error

    def _refused(self, said: str, where: str = "") -> AttnPOError:
        hint = f"; {self.hint}" if self.hint else ""
        return self.error(f"{where or self.name or self.path}: {said}{hint}")


def parse_json(text: str) -> Any:
    """Return a JSON text's value.

    Raises:
        ValueError: it is not JSON, or nested too deeply.
    """
    try:
        return json.loads(text)
    except RecursionError as error:
        raise ValueError("nested too deeply") from error


def whole_characters(text: str) -> str:
    """Return the text with U+FFFD for half a character (a lone surrogate), which JSON may hold and no file in UTF-8."""
    return text if text.isascii() else _HALF.sub("\ufffd", text)


def whole_json(value: Any) -> Any:
    """Return a JSON value with U+FFFD for every half character in its texts and names."""
    text = json.dumps(value, ensure_ascii=False)
    whole = whole_characters(text)
    return value if whole == text else json.loads(whole)


def json_object(value: Mapping[str, Any] | str, setting: str) -> dict[str, Any]:
    """Return settings by name that may be given as JSON text.

    Raises:
        ConfigError: they are none.
    """
    try:
        found = parse_json(value) if isinstance(value, str) else dict(value)
    except ValueError as error:
        raise ConfigError(f'{setting}: {value!r} is not JSON ({error}); write {{"name": value}}') from error
    if not isinstance(found, dict):
        raise ConfigError(f'{setting}: {value!r} holds no settings by name; write {{"name": value}}')
    return found


class _Loader(yaml.SafeLoader):
    """Refuses a key that stands twice, of which YAML would silently take the last, and a value that contains itself."""

    def construct_mapping(self, node: Any, deep: bool = False) -> dict[Any, Any]:
        seen: set[Hashable] = set()
        for key_node, _ in node.value:
            if key_node.tag == MERGE:
                continue
            key = self.construct_object(key_node, deep=True)
            if not isinstance(key, Hashable):
                continue  # YAML's own message says so
            if key in seen:
                raise yaml.constructor.ConstructorError(
                    None, None, f"{key} is set twice; keep one of them", key_node.start_mark
                )
            seen.add(key)
        return super().construct_mapping(node, deep=deep)

    def compose_node(self, parent: Any, index: Any) -> Any:
        if self.check_event(yaml.AliasEvent):
            alias = self.peek_event()
            node = self.anchors.get(alias.anchor)
            # A node without an end is still being composed: the alias stands inside what it means.
            if node is not None and getattr(node, "end_mark", None) is None:
                raise yaml.composer.ComposerError(
                    None, None, f"*{alias.anchor} contains itself; write it out", alias.start_mark
                )
        return super().compose_node(parent, index)


def _marked(error: yaml.MarkedYAMLError) -> str:
    """Return line and reason, without the excerpt that the parser adds."""
    said = " ".join(part for part in (error.context, error.problem) if part)
    mark = error.problem_mark or error.context_mark
    return said if mark is None else f"line {mark.line + 1}: {said}"
