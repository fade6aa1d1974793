"""Flags of a command line: made of dataclasses, and checked before a parser sees them (names, doubles, JSON)."""

from __future__ import annotations

import argparse
import dataclasses
import enum
import re
import types
import typing
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn

from attnpo.errors import ConfigError, nearest
from attnpo.files import parse_json

JSON_FILES = ("accelerator_config", "deepspeed", "fsdp_config")
"""Settings by name that may also be the path of a JSON file, which transformers reads."""

Flag = tuple[list[str], dict[str, Any]]
"""Names of a flag, and what `ArgumentParser.add_argument` takes beside them."""
YES, NO = ("yes", "true", "t", "y", "1"), ("no", "false", "f", "n", "0")
OPTIONS = re.compile(r"\b(?:one of|choose from|choose|only|allowed are|use)\b(?P<options>.*)")
"""Where a message lists what is allowed."""


class OneLineParser(argparse.ArgumentParser):
    """Refuses in one line instead of printing the usage; a flag's name must be whole."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**{"allow_abbrev": False, **options})

    def error(self, message: str) -> NoReturn:
        """Raise instead of printing the usage."""
        raise ConfigError(with_nearest(message.removeprefix("argument ")))


def dataclass_flags(dataclass_type: Any) -> Iterator[Flag]:
    """Yield the flags of a dataclass's fields, as `transformers.HfArgumentParser` makes them.

    `--a_name` is `--a-name` too; a switch takes a value or none, and one that is on has `--no_NAME` beside it.
    """
    hints = settings_of(dataclass_type)
    for field in dataclasses.fields(dataclass_type):
        if field.init:
            yield from _field_flags(field, _one_type(hints[field.name]))


def settings_of(dataclass_type: Any) -> dict[str, Any]:
    """Return setting → type hint of a dataclass's fields."""
    hints = typing.get_type_hints(dataclass_type)
    return {field.name: hints[field.name] for field in dataclasses.fields(dataclass_type) if field.init}


def add_flags(parser: argparse.ArgumentParser, flags: Iterable[Flag]) -> None:
    """Add flags to a parser."""
    for names, options in flags:
        parser.add_argument(*names, **options)


def _field_flags(field: dataclasses.Field[Any], hint: Any) -> Iterator[Flag]:
    options: dict[str, Any] = dict(field.metadata)
    names = [f"--{field.name}"] + ([f"--{field.name.replace('_', '-')}"] if "_" in field.name else [])
    if field.default is not dataclasses.MISSING:
        options["default"] = field.default
    elif field.default_factory is not dataclasses.MISSING:
        options["default"] = field.default_factory()
    else:
        options["required"] = True
    switch = hint is bool
    if typing.get_origin(hint) is typing.Literal or (isinstance(hint, type) and issubclass(hint, enum.Enum)):
        choices = typing.get_args(hint) or [member.value for member in hint]
        options.update(choices=choices, type=_chooser(choices))
    elif switch or hint == bool | None:
        options["type"] = _yes_or_no
        if switch or options.get("default") is not None:
            options.update(nargs="?", const=True)
    elif typing.get_origin(hint) is list:
        options.update(nargs="+", type=typing.get_args(hint)[0])
        if options.get("default") == "":  # transformers' way to write an empty list
            options["default"] = None
    else:
        options["type"] = hint
    yield names, options
    if field.default is True and "const" in options:
        names = [f"--no_{field.name}", f"--no-{field.name.replace('_', '-')}"]
        yield names, {**field.metadata, "action": "store_false", "dest": field.name, "default": False}


def _one_type(hint: Any) -> Any:
    """Return the type that a flag's value is read as, of the several that a union allows."""
    options = typing.get_args(hint)
    if typing.get_origin(hint) not in (typing.Union, types.UnionType) or {bool, type(None)} <= set(options):
        return hint
    first, second = options[:2]
    return first if second is type(None) or (second is str and type(None) not in options) else second


def _chooser(choices: Iterable[Any]) -> Callable[[str], Any]:
    by_text = {str(choice): choice for choice in choices}
    return lambda text: by_text.get(text, text)


def _yes_or_no(text: str) -> bool:
    if text.lower() not in (*YES, *NO):
        raise argparse.ArgumentTypeError(f"got {text} but expected one of {'/'.join((*YES, *NO))}")
    return text.lower() in YES


def read_flags(arguments: Sequence[str], parser: argparse.ArgumentParser) -> dict[str, str]:
    """Return setting → the words that flags give it.

    Raises:
        ConfigError: a flag does not exist, or stands there twice with different values; the message names it.
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
    return {name: " ".join(words) for name, words in values.items()}


def is_switched_on(arguments: Sequence[str], name: str) -> bool:
    """Whether a flag switches something on, before its value can be checked."""
    for argument, following in zip(arguments, [*arguments[1:], ""], strict=True):
        flag, _, value = argument.partition("=")
        if flag.replace("-", "_") == f"__{name}":
            return (value or following).lower() not in NO
    return False


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
        for name, hint in settings_of(dataclass_type).items():
            value = values.get(name)
            if isinstance(value, str) and _holds_names(hint):
                _check_object(value, f"{where}{name}", name in JSON_FILES)


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
