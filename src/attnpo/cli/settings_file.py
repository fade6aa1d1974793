"""YAML files of settings, checked before anything is loaded: names, duplicates, types."""

from __future__ import annotations

import re
import reprlib
import typing
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from attnpo.cli.flags import settings_of
from attnpo.errors import ConfigError, nearest
from attnpo.files import MERGE, UserFile

ENVIRONMENT = "env"
"""TRL's own key: environment variables to set."""


class _TextLoader(yaml.SafeLoader):
    """Reads every scalar as the text that it is."""


_TextLoader.yaml_implicit_resolvers = {"<": [(MERGE, re.compile("^<<$"))]}


def read_settings(path: Path) -> dict[str, Any]:
    """Read a YAML file of settings.

    Raises:
        ConfigError: it is missing, not YAML, holds no settings by name, or one twice.
    """
    where = f"--config {path}"
    settings = UserFile(path, "settings file", ConfigError, where).yaml()
    if not isinstance(settings, dict):
        raise ConfigError(f"{where}: must hold settings as 'name: value' lines")
    return settings


def check_settings_file(settings: Mapping[str, Any], dataclass_types: Sequence[Any], where: str) -> dict[str, Any]:
    """Check that every setting exists and every value has its setting's type; returns them as their types have them.

    Raises:
        ConfigError: one does not; the message names it, and the one that resembles it most, or what is expected.
    """
    hints = {name: hint for each in dataclass_types for name, hint in settings_of(each).items()}
    unknown = [str(name) for name in settings if name not in hints and name != ENVIRONMENT]
    if unknown:
        said = ", ".join(f"{name}{nearest(name, hints).replace('; ', ' (').replace('?', '?)')}" for name in unknown)
        raise ConfigError(f"{where}: no setting called {said}")
    typed = dict(settings)
    for name, hint in hints.items():
        if name in settings:
            valid = _checked(name, settings[name], hint, where)
            if isinstance(settings[name], list):  # argparse reads the text of a scalar alone
                typed[name] = valid
    return typed


def as_written(settings: Mapping[str, Any], dataclass_types: Sequence[Any], path: Path) -> dict[str, Any]:
    """Return settings of a file where texts that YAML takes for numbers are texts again (head 16.10, `env`).

    Args:
        settings: what the file holds.
        dataclass_types: what says which settings are text.
        path: the file.
    """
    hints: dict[str, Any] = {name: hint for each in dataclass_types for name, hint in settings_of(each).items()}
    numbers = [name for name, value in settings.items() if type(value) in (int, float) and _is_text(hints.get(name))]
    if isinstance(settings.get(ENVIRONMENT), dict):
        numbers.append(ENVIRONMENT)
    if not numbers:
        return dict(settings)
    written = yaml.load(UserFile(path).text(), Loader=_TextLoader)
    return {**settings, **{name: written[name] for name in numbers}}


def _is_text(hint: Any) -> bool:
    options = [option for option in typing.get_args(hint) or (hint,) if option is not type(None)]
    return options == [str]


def _checked(name: str, value: Any, hint: Any, where: str) -> Any:
    from pydantic import ConfigDict, TypeAdapter, ValidationError  # half of the time of `--help`

    if isinstance(value, bool) and not _allows_bool(hint):
        raise ConfigError(f"{where}: {name}: {value} is yes or no, expected {_said(hint)}")
    # YAML reads 16 for a text such as "16.2" never, but 1 or 2e-6 where a text or number was meant: both are taken.
    adapter: TypeAdapter[Any] = TypeAdapter(
        hint, config=ConfigDict(coerce_numbers_to_str=True, arbitrary_types_allowed=True)
    )
    try:
        return adapter.validate_python(value)
    except ValidationError as error:
        # Shortened: a few aliases in YAML can stand for more text than memory holds.
        raise ConfigError(f"{where}: {name}: {reprlib.repr(value)} is not valid, expected {_said(hint)}") from error


def _allows_bool(hint: Any) -> bool:
    options = typing.get_args(hint) or (hint,)
    # A text can be any word, and settings of TRL's read "true" from it.
    return any(option in (bool, str, False, Any) for option in options)


def _said(hint: Any) -> str:
    """Return a type as a person would say it."""
    if hint is type(None):
        return "nothing"
    options = typing.get_args(hint)
    if typing.get_origin(hint) not in (list, dict, tuple) and options:
        return " or ".join(
            _said(option) if isinstance(option, type) or typing.get_args(option) else repr(option) for option in options
        )
    names = {
        "int": "a whole number",
        "float": "a number",
        "str": "text",
        "bool": "true or false",
        "dict": "settings by name",
    }
    return names.get(getattr(hint, "__name__", str(hint)), str(getattr(hint, "__name__", hint)))
