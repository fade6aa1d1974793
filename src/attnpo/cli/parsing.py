"""Settings from YAML and flags, in TRL's manner."""

from __future__ import annotations

import argparse
import itertools
import os
import re
import sys
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

from attnpo.cli.flags import (
    Flag,
    OneLineParser,
    add_flags,
    check_json,
    dataclass_flags,
    read_flags,
    settings_of,
    with_nearest,
)
from attnpo.cli.settings_file import ENVIRONMENT, as_written, check_settings_file, read_settings
from attnpo.cli.shorthands import without_overridden
from attnpo.cli.shown import load_class, shown_flags
from attnpo.errors import ConfigError, one_line
from attnpo.files import parse_json
from attnpo.ranges import check_settings

Settings = Any
"""A dataclass whose fields are settings, or its name as `module:class` where importing it takes long."""


class _Formatter(argparse.ArgumentDefaultsHelpFormatter, argparse.RawDescriptionHelpFormatter):
    """Shows defaults and keeps the line breaks of examples."""


@dataclass(frozen=True)
class Parsed:
    """Settings as they were given.

    Attributes:
        parts: an instance of each settings type.
        flags: setting → the words that flags give it.
        file: setting → its value in the YAML file.
    """

    parts: list[Any]
    flags: Mapping[str, str]
    file: Mapping[str, Any]

    @property
    def given(self) -> set[str]:
        """Names of the settings that flags or the YAML file give, so that others may have other defaults."""
        return {*self.flags, *self.file}

    @property
    def values(self) -> dict[str, Any]:
        """Every setting with its value."""
        return {name: value for part in self.parts for name, value in vars(part).items()}


def parse(
    command: str,
    settings_types: Sequence[Settings],
    argv: Sequence[str],
    description: str,
    example: str,
    first: str | None = None,
) -> Parsed:
    """Parse `--config FILE.yaml` plus flags into instances of `settings_types`; flags go before the file.

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
    path, arguments = config_path(arguments)
    dataclass_types = [load_class(each) if isinstance(each, str) else each for each in settings_types]
    parser = _parser(map(dataclass_flags, dataclass_types), prog=f"attnpo {command}")
    flags = read_flags(arguments, parser)
    check_json(flags, dataclass_types)
    file = {} if path is None else without_overridden(_read_file(path, dataclass_types), flags, dataclass_types)
    for action in parser._actions:
        action.default, action.required = file.get(action.dest, argparse.SUPPRESS), False
    try:
        values, stray = parser.parse_known_args(arguments)
        parts = [] if stray else [_made(each, vars(values)) for each in dataclass_types]
    except (ValueError, TypeError, OSError, ConfigError) as error:
        known = {action.dest for action in parser._actions}
        raise ConfigError(_placed(error, path, file, flags, known)) from error
    for word in stray:
        said = "flags begin with --" if word.startswith("-") else f"write --NAME {word}"
        raise ConfigError(f"{word}: belongs to no setting; {said} (--help lists them)")
    return Parsed(parts, flags, file)


def given_value(argv: Sequence[str], name: str) -> str | None:
    """Return the value of a setting that decides which others there are, from flags or the YAML file; None if absent.

    Raises:
        ConfigError: the YAML file is missing or malformed.
    """
    path, arguments = config_path(argv)
    for argument, following in itertools.pairwise([*arguments, ""]):
        flag, is_joined, value = argument.partition("=")
        if flag.replace("-", "_") == f"__{name}":
            return value if is_joined else following
    found = None if path is None else read_settings(path).get(name)
    return None if found is None else str(found)


def print_help(command: str, settings_types: Sequence[Settings], description: str, example: str) -> NoReturn:
    """Print a command's help and exit."""
    shown = [shown_flags(each) if isinstance(each, str) else dataclass_flags(each) for each in settings_types]
    said = f"{description}\n\nexample:\n{example}"
    _parser(shown, prog=f"attnpo {command}", description=said, formatter_class=_Formatter).print_help()
    sys.exit(0)


def _parser(flags: Iterable[Iterable[Flag]], **options: Any) -> OneLineParser:
    parser = OneLineParser(**options)
    for each in flags:
        add_flags(parser, each)
    return parser


def _made(dataclass_type: Any, values: Mapping[str, Any]) -> Any:
    made = dataclass_type(**{name: values[name] for name in settings_of(dataclass_type) if name in values})
    check_settings(made)
    return made


def _read_file(path: Path, dataclass_types: Sequence[Any]) -> dict[str, Any]:
    """Return the settings of a YAML file, checked; sets the environment variables that it holds."""
    where = f"--config {path}"
    settings = as_written(check_settings_file(read_settings(path), dataclass_types, where), dataclass_types, path)
    check_json(settings, dataclass_types, f"{where}: ")
    environment = settings.pop(ENVIRONMENT, None) or {}
    if not isinstance(environment, dict):
        raise ConfigError(f"{where}: {ENVIRONMENT}: holds no 'NAME: value' lines; write one a variable, or take it out")
    for name, value in environment.items():
        os.environ[str(name)] = str(value)
    return settings


def config_path(arguments: Sequence[str]) -> tuple[Path | None, list[str]]:
    """Return the path that the first `--config` gives, and the arguments without it."""
    for i, argument in enumerate(arguments):
        flag, is_joined, value = argument.partition("=")
        if flag == "--config":
            end = i + (1 if is_joined else 2)
            if end > len(arguments):
                raise ConfigError("--config: give the path of a YAML file")
            return Path(value if is_joined else arguments[i + 1]), [*arguments[:i], *arguments[end:]]
    return None, list(arguments)


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
