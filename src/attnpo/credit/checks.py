"""Settings that check themselves: default, allowed values and meaning of each are said once, side by side."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field, fields
from typing import Any, Final

from attnpo.errors import ConfigError


@dataclass(frozen=True)
class Allowed:
    """What a setting may be.

    Attributes:
        text: said to the user after "use".
        holds: whether a value is allowed.
    """

    text: str
    holds: Callable[[Any], bool]


def is_number(value: object) -> bool:
    """Whether a value is a finite number, and no truth value."""
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


def is_integer(value: object) -> bool:
    """Whether a value is a whole number, and no truth value."""
    return isinstance(value, int) and not isinstance(value, bool)


NUMBER: Final = Allowed("a number", is_number)
SHARE: Final = Allowed("a number from 0 to 1", lambda value: is_number(value) and 0 <= value <= 1)
AT_LEAST_0: Final = Allowed("a number of at least 0", lambda value: is_number(value) and value >= 0)
POSITIVE: Final = Allowed("a number above 0", lambda value: is_number(value) and value > 0)
SWITCH: Final = Allowed("true or false", lambda value: isinstance(value, bool))
TEXT: Final = Allowed("a text", lambda value: isinstance(value, str))
INTEGER: Final = Allowed("an integer", is_integer)
COUNT: Final = Allowed("an integer of at least 0", lambda value: is_integer(value) and value >= 0)
TOKENS: Final = Allowed("an integer of at least 1", lambda value: is_integer(value) and value >= 1)


def optional(allowed: Allowed, meaning: str) -> Allowed:
    """Return what allows None as well, which means `meaning`."""
    return Allowed(f"{allowed.text}, or none for {meaning}", lambda value: value is None or allowed.holds(value))


def one_of(*names: str) -> Allowed:
    """Return what allows the given texts."""
    return Allowed(" or ".join(map(repr, names)), lambda value: isinstance(value, str) and value in names)


def setting(default: Any, allowed: Allowed, meaning: str) -> Any:
    """Return a dataclass field that `check_settings` checks and that documents itself.

    Args:
        default: the published value, or a sensible one where `meaning` says that none is published.
        allowed: what it may be.
        meaning: what it is, with its unit.
    """
    return field(default=default, metadata={"allowed": allowed, "help": meaning})


def check_settings(settings: Any) -> None:
    """Check every field of a settings dataclass that was made by `setting`.

    Raises:
        ConfigError: a value is not allowed; the line names the field.
    """
    for entry in fields(settings):
        allowed, value = entry.metadata.get("allowed"), getattr(settings, entry.name)
        if allowed is not None and not allowed.holds(value):
            raise ConfigError(f"{entry.name}: {value!r} is not allowed; use {allowed.text}")
