"""Settings from YAML and flags, in TRL's manner."""

from __future__ import annotations

import argparse
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn

from trl import TrlParser

from attnpo.cli.settings_file import check_names, check_types, read_settings
from attnpo.errors import ConfigError, nearest


class _Parser(TrlParser):
    """Refuses what TRL's parser would refuse, in one line; a flag's name must be whole."""

    def __init__(self, dataclass_types: Sequence[Any], **options: Any) -> None:
        super().__init__(list(dataclass_types), allow_abbrev=False, **options)

    def error(self, message: str) -> NoReturn:
        """Raise instead of printing the usage."""
        raise ConfigError(message.removeprefix("argument "))


class _Formatter(argparse.ArgumentDefaultsHelpFormatter, argparse.RawDescriptionHelpFormatter):
    """Shows defaults and keeps the line breaks of examples."""


def parse(command: str, dataclass_types: Sequence[Any], argv: Sequence[str], description: str, example: str) -> Any:
    """Parse `--config FILE.yaml` plus flags into instances of `dataclass_types`.

    Args:
        command: name of the command, for the usage line.
        dataclass_types: whose fields are the settings.
        argv: the arguments after the command.
        description: what the command does.
        example: shell lines shown by `--help`.

    Raises:
        ConfigError: the YAML file is missing or malformed, a setting in it or among the flags does not exist or stands
            there twice, or a value is not allowed or contradicts another one.
    """
    parser = _Parser(
        dataclass_types,
        prog=f"attnpo {command}",
        description=f"{description}\n\nexample:\n{example}",
        formatter_class=_Formatter,
    )
    arguments = list(argv)
    path = _config_path(arguments)
    known = {action.dest for action in parser._actions}
    _check_flags(arguments, parser)
    settings: Mapping[str, Any] = {}
    if path is not None:
        settings = read_settings(path)
        check_names(settings, known, f"--config {path}")
        check_types(settings, dataclass_types, f"--config {path}")
    try:
        return parser.parse_args_and_config(arguments)
    except (ValueError, TypeError) as error:
        raise ConfigError(_placed(error, path, settings)) from error
    except ConfigError as error:
        raise ConfigError(_placed(error, path, settings)) from error


def given_settings(dataclass_types: Sequence[Any], argv: Sequence[str]) -> set[str]:
    """Return the names of the settings that flags or the YAML file give, so that others may have other defaults.

    Args:
        dataclass_types: whose fields are the settings.
        argv: arguments that `parse` has accepted.
    """
    parser = _Parser(dataclass_types)
    for action in parser._actions:
        action.default, action.required = argparse.SUPPRESS, False
    arguments = list(argv)
    path = _config_path(arguments)
    known, _ = argparse.ArgumentParser.parse_known_args(parser, arguments)
    stored = {} if path is None else read_settings(path)
    return (set(vars(known)) | set(stored)) - {"config", "env"}


def given_by_flags(dataclass_types: Sequence[Any], argv: Sequence[str]) -> set[str]:
    """Return the names of the settings that flags give, the YAML file's left out."""
    arguments = list(argv)
    if _config_path(arguments) is not None:
        position = arguments.index("--config")
        del arguments[position : position + 2]
    return given_settings(dataclass_types, arguments)


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


def _check_flags(arguments: Sequence[str], parser: argparse.ArgumentParser) -> None:
    """Refuse a flag that does not exist, or stands there twice with different values."""
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
        name = options[flag].dest
        if values.get(name, value) != value:
            raise ConfigError(f"{flag}: is given twice, with different values; keep one of them")
        values[name] = value


def _placed(error: Exception, path: Path | None, settings: Mapping[str, Any]) -> str:
    """Return an error's line, with the settings file before it where that holds the setting it speaks of."""
    line = " ".join(str(error).split())
    named = set(re.findall(r"\w+", line)) & set(settings)
    return f"--config {path}: {line}" if path is not None and named else line
