"""Settings from YAML and flags, in TRL's manner."""

from __future__ import annotations

import argparse
import os
import re
import sys
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any, NoReturn

from attnpo.cli.flags import (
    Flag,
    OneLineParser,
    add_flags,
    check_flags,
    check_json,
    check_stray,
    dataclass_flags,
    with_nearest,
)
from attnpo.cli.settings_file import ENVIRONMENT, check_names, check_types, read_settings
from attnpo.cli.shown import load_class, shown_flags
from attnpo.errors import ConfigError, one_line
from attnpo.files import parse_json
from attnpo.ranges import check_settings

Settings = Any
"""A dataclass whose fields are settings, or its name as `module:class` where importing it takes long."""


class _Formatter(argparse.ArgumentDefaultsHelpFormatter, argparse.RawDescriptionHelpFormatter):
    """Shows defaults and keeps the line breaks of examples."""


def parse(
    command: str,
    settings_types: Sequence[Settings],
    argv: Sequence[str],
    description: str,
    example: str,
    first: str | None = None,
) -> Any:
    """Parse `--config FILE.yaml` plus flags into instances of `settings_types`.

    Args:
        command: name of the command, for the usage line.
        settings_types: what holds the settings.
        argv: the arguments after the command.
        description: what the command does.
        example: shell lines shown by `--help`.
        first: the setting that a first argument without a flag stands for; None where there is none.

    Raises:
        ConfigError: the YAML file is missing or malformed, a setting in it or among the flags does not exist or stands
            there twice, a word belongs to none, or a value is not allowed or contradicts another one.
    """
    arguments = list(argv)
    if first is not None and arguments and not arguments[0].startswith("-"):
        arguments.insert(0, f"--{first}")
    if {"-h", "--help"} & set(arguments):
        print_help(command, settings_types, description, example)
    path = _config_path(arguments)
    dataclass_types = _loaded(settings_types)
    parser = _parser(map(dataclass_flags, dataclass_types), prog=f"attnpo {command}")
    check_flags(arguments, parser)
    flags, stray = _flags(dataclass_types, arguments)
    check_stray(stray)
    check_json(flags, dataclass_types)
    settings: dict[str, Any] = {}
    known = {action.dest for action in parser._actions}
    if path is not None:
        settings = read_settings(path)
        where = f"--config {path}"
        check_names(settings, known, where)
        check_types(settings, dataclass_types, where)
        check_json(settings, dataclass_types, f"{where}: ")
        for name, value in dict(settings.pop(ENVIRONMENT, {})).items():
            os.environ[name] = str(value)
    for action in parser._actions:
        if action.dest in settings:
            action.default, action.required = settings[action.dest], False
    try:
        values = vars(parser.parse_args(_without_config(arguments)))
        parsed = [made(**{f.name: values[f.name] for f in fields(made) if f.init}) for made in dataclass_types]
        for part in parsed:
            check_settings(part)
        return parsed
    except (ValueError, TypeError, OSError, ConfigError) as error:
        raise ConfigError(_placed(error, path, settings, flags, known)) from error


def print_help(command: str, settings_types: Sequence[Settings], description: str, example: str) -> NoReturn:
    """Print a command's help and exit."""
    shown = [shown_flags(each) if isinstance(each, str) else dataclass_flags(each) for each in settings_types]
    said = f"{description}\n\nexample:\n{example}"
    _parser(shown, prog=f"attnpo {command}", description=said, formatter_class=_Formatter).print_help()
    sys.exit(0)


def given_settings(settings_types: Sequence[Settings], argv: Sequence[str]) -> set[str]:
    """Return the names of the settings that flags or the YAML file give, so that others may have other defaults.

    Args:
        settings_types: what holds the settings.
        argv: arguments that `parse` has accepted.
    """
    path = _config_path(list(argv))
    stored = {} if path is None else read_settings(path)
    return (given_by_flags(settings_types, argv) | set(stored)) - {ENVIRONMENT}


def given_by_flags(settings_types: Sequence[Settings], argv: Sequence[str]) -> set[str]:
    """Return the names of the settings that flags give, the YAML file's left out."""
    return set(_flags(_loaded(settings_types), argv)[0])


def _loaded(settings_types: Sequence[Settings]) -> list[Any]:
    return [load_class(each) if isinstance(each, str) else each for each in settings_types]


def _parser(flags: Iterable[Iterable[Flag]], **options: Any) -> OneLineParser:
    parser = OneLineParser(**options)
    for each in flags:
        add_flags(parser, each)
    return parser


def _flags(dataclass_types: Sequence[Any], argv: Sequence[str]) -> tuple[dict[str, Any], list[str]]:
    """Return setting → value of the flags alone, and the words that belong to none.

    Raises:
        ConfigError: a flag lacks its value, or has one of another type.
    """
    parser = _parser(map(dataclass_flags, dataclass_types))
    for action in parser._actions:
        action.default, action.required = argparse.SUPPRESS, False
    known, stray = parser.parse_known_args(_without_config(argv))
    return vars(known), stray


def _without_config(argv: Sequence[str]) -> list[str]:
    arguments = list(argv)
    if _config_path(arguments) is not None:
        position = arguments.index("--config")
        del arguments[position : position + 2]
    return arguments


def _config_path(arguments: list[str]) -> Path | None:
    for position, argument in enumerate(arguments):
        if argument.startswith("--config="):
            arguments[position : position + 1] = ["--config", argument.partition("=")[2]]
            argument = "--config"
        if argument == "--config":
            if position + 1 >= len(arguments):
                raise ConfigError("--config: give the path of a YAML file")
            return Path(arguments[position + 1])
    return None


def _placed(
    error: Exception, path: Path | None, settings: Mapping[str, Any], flags: Mapping[str, Any], known: Collection[str]
) -> str:
    """Return an error's line, with what it comes from before it where the line does not say.

    That is the flag whose value the line speaks of, or the settings file where that alone holds what it speaks of: a
    flag goes before the file, so a setting given by both is the flag's.
    """
    line = with_nearest(one_line(error))
    named = _settings_in(line) & {*known, *settings}
    if named:
        return f"--config {path}: {line}" if named & set(settings) and not named & set(flags) else line
    for where, values in (("--", flags), (f"--config {path}: ", settings)):
        spoken = [name for name, value in values.items() if _speaks_of(line, value)]
        if len(spoken) == 1:
            return f"{where}{spoken[0]}: {line}"
    return line


def _settings_in(line: str) -> set[str]:
    """Return the words of a line that are written as a setting's name is: before a colon, with `--`, `_` or `=`."""
    marked = r"^(\w+)(?=[:.])|--(\w+)|(\w*[a-z]_[a-z]\w*)|(\w+)(?==)|[`'](\w+)[`']"
    return {word for groups in re.findall(marked, line) for word in groups if word}


def _speaks_of(line: str, value: Any) -> bool:
    """Whether a line holds a setting's value, or a name of those that the value holds."""
    words = [str(value)] if len(str(value)) > 2 else []
    if isinstance(value, str) and value.lstrip().startswith("{"):
        words = [f"'{name}'" for name in parse_json(value)]
    return any(re.search(rf"(?<![\w.-]){re.escape(word)}(?![\w.-])", line) for word in words)
