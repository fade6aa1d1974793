"""Settings of methods that check themselves: default, allowed values and meaning of each, said once, side by side."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final

from attnpo.ranges import AT_LEAST_0, COUNT, NUMBER, POSITIVE, SEED, SHARE, Condition, Range, check_settings
from attnpo.ranges import AT_LEAST_1 as TOKENS

__all__ = [
    "AT_LEAST_0",
    "COUNT",
    "NUMBER",
    "POSITIVE",
    "SEED",
    "SHARE",
    "SWITCH",
    "TEXT",
    "TEXTS",
    "TOKENS",
    "Allowed",
    "Range",
    "check_settings",
    "one_of",
    "optional",
    "setting",
]


@dataclass(frozen=True)
class Allowed:
    """What a setting may be that is no number; numbers have a `Range`.

    Attributes:
        text: said to the user after "use".
        holds: whether a value is allowed.
    """

    text: str
    holds: Callable[[Any], bool]


SWITCH: Final = Allowed("true or false", lambda value: isinstance(value, bool))
TEXT: Final = Allowed("a text", lambda value: isinstance(value, str))
TEXTS: Final = Allowed(
    "a list of texts", lambda value: isinstance(value, tuple) and bool(value) and all(map(TEXT.holds, value))
)


def optional(allowed: Condition, meaning: str) -> Allowed:
    """Return what allows None as well, which means `meaning`."""
    return Allowed(f"{allowed.text}, or none for {meaning}", lambda value: value is None or allowed.holds(value))


def one_of(*names: str) -> Allowed:
    """Return what allows the given texts."""
    return Allowed(" or ".join(map(repr, names)), lambda value: isinstance(value, str) and value in names)


def setting(default: Any, allowed: Condition, meaning: str) -> Any:
    """Return a dataclass field that `check_settings` checks and that documents itself.

    Args:
        default: the published value, or a sensible one where `meaning` says that none is published.
        allowed: what it may be.
        meaning: what it is, with its unit.
    """
    return field(default=default, metadata={"allowed": allowed, "help": meaning})
