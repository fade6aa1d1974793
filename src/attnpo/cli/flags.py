"""Flags of a command line, checked before a parser sees them: names, doubles, words that belong to none, JSON."""

from __future__ import annotations

import argparse
import dataclasses
import re
import typing
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn

from attnpo.errors import ConfigError, nearest
from attnpo.files import parse_json

JSON_FILES = ("accelerator_config", "deepspeed", "fsdp_config")
"""Settings by name that may also be the path of a JSON file, which transformers reads."""


OPTIONS = re.compile(r"\b(?:one of|choose from|choose|only|allowed are|use)\b(?P<options>.*)")
"""Where a message lists what is allowed."""


class OneLineParser(argparse.ArgumentParser):
    """Refuses in one line instead of printing the usage; a flag's name must be whole."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**{"allow_abbrev": False, **options})

    def error(self, message: str) -> NoReturn:
        """Raise instead of printing the usage."""
        raise ConfigError(with_nearest(message.removeprefix("argument ")))


def check_flags(arguments: Sequence[str], parser: argparse.ArgumentParser) -> None:
    """Refuse a flag that does not exist, or stands there twice with different values.

    Raises:
        ConfigError: one is such; the message names it.
    """
    options = {option: action for action in parser._actions for option in action.option_strings}
    values: dict[str, Sequence[str]] = {}
    positions = [i for i, argument in enumerate(arguments) if argument.startswith("--")]
    for position, end in zip(positions, [*positions, len(arguments)][1:], strict=True):
        flag, is_joined, joined = arguments[position].partition("=")
        if flag == "--config":
            continue
        if flag not in options:
            raise ConfigError(f"{flag}: no such setting{nearest(flag, options)}")
        value = [joined] if is_joined else arguments[position + 1 : end]
        action = options[flag]
        if isinstance(action, argparse._AppendAction):
            continue
        if values.get(action.dest, value) != value:
            raise ConfigError(f"{flag}: is given twice, with different values; keep one of them")
        values[action.dest] = value


def check_stray(words: Sequence[str]) -> None:
    """Refuse words that belong to no flag.

    Raises:
        ConfigError: there are some; the message names the first.
    """
    for word in words:
        said = "flags begin with --" if word.startswith("-") else f"write --NAME {word}"
        raise ConfigError(f"{word}: belongs to no setting; {said} (--help lists them)")


def with_nearest(line: str) -> str:
    """Return an error's line with the allowed word that resembles the wrong one most, where it lists such."""
    wrong = re.search(r"['\"]?([\w.:-]+)['\"]? (?:is not|is unknown)|invalid choice: '([^']*)'|unknown '([^']*)'", line)
    listed = OPTIONS.search(line)
    if wrong is None or listed is None or "did you mean" in line:
        return line
    word = next(group for group in wrong.groups() if group is not None)
    if _is_number(word):
        return line
    options = set(re.findall(r"[\w][\w.-]*", listed["options"])) - {word}
    return line.rstrip(".") + nearest(word, options)


def check_json(values: Mapping[str, Any], dataclass_types: Sequence[Any], where: str = "--") -> None:
    """Check settings that hold others by name where they are given as text.

    Args:
        values: setting → value as given.
        dataclass_types: whose fields are the settings.
        where: what stands before a setting's name in messages.

    Raises:
        ConfigError: a text is not a JSON object, nor the path of a file where that is allowed.
    """
    for dataclass_type in dataclass_types:
        hints = typing.get_type_hints(dataclass_type)
        for field in dataclasses.fields(dataclass_type):
            value = values.get(field.name)
            if isinstance(value, str) and _holds_names(hints[field.name]):
                _check_object(value, f"{where}{field.name}", field.name in JSON_FILES)


def _holds_names(hint: Any) -> bool:
    return any(option is dict or typing.get_origin(option) is dict for option in (hint, *typing.get_args(hint)))


def _check_object(text: str, where: str, may_be_file: bool) -> None:
    wanted = 'write it as JSON, {"name": value}' + (", or give the path of a JSON file" if may_be_file else "")
    if may_be_file and not text.lstrip().startswith("{"):
        if not Path(text).is_file():
            raise ConfigError(f"{where}: {text!r} is no file; {wanted}")
        return
    try:
        found = parse_json(text)
    except ValueError as error:
        raise ConfigError(f"{where}: {text!r} is not JSON ({error}); {wanted}") from error
    if not isinstance(found, dict):
        raise ConfigError(f"{where}: {text!r} holds no settings by name; {wanted}")


def _is_number(word: str) -> bool:
    try:
        float(word)
    except ValueError:
        return False
    return True
