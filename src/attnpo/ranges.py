"""What settings may be: the range of every number, finiteness included, known words, and the line that refuses others.

A field says it in its type, `temperature: Annotated[float, TEMPERATURE]` or `Literal["greedy", "top"]`, which other
readers of the type understand or pass over; a setting of a method says it beside its default (`credit.checks.setting`);
for fields that a class inherits from a library, the class attribute `INHERITED_RANGES` holds a table.
"""

from __future__ import annotations

import functools
import json
import math
import typing
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from numbers import Integral, Real
from typing import Annotated, Any, Final, Literal, Protocol

from attnpo.errors import ConfigError

LARGEST: Final = 3.4e38
"""Numbers beyond it are infinite in float32, in which they are used."""
MOST: Final = 2**31 - 1
"""Counts beyond it are taken for a slip of the hand, and overflow what libraries hold them in."""
LARGEST_SEED: Final = 2**32 - 1
"""NumPy's."""


class Condition(Protocol):
    """What a value must be."""

    @property
    def text(self) -> str:
        """Said to the user after "use"."""
        ...

    def holds(self, value: Any) -> bool:
        """Whether a value is allowed."""
        ...


@dataclass(frozen=True)
class Range:
    """The numbers between two bounds; never NaN, an infinity or a truth value.

    Attributes:
        low: least number; None for no bound.
        high: greatest number; None for no bound but that of the arithmetic.
        whole: integers only.
        above: `low` itself is not allowed.
        below: `high` itself is not allowed.
        also: what is allowed beside, such as a word that stands for a number.
        note: said after the range, in brackets.
        largest: where `high` is None: what is beyond it is taken for a slip of the hand; said to who made one alone.
    """

    low: float | None = None
    high: float | None = None
    whole: bool = False
    above: bool = False
    below: bool = False
    also: tuple[Any, ...] = ()
    note: str = ""
    largest: float | None = None

    @property
    def most(self) -> float:
        """The greatest number, the arithmetic's where the range names none."""
        return next(most for most in (self.high, self.largest, MOST if self.whole else LARGEST) if most is not None)

    def holds(self, value: object) -> bool:
        """Whether a value is allowed."""
        if isinstance(value, bool):
            return False
        if any(value is other or value == other for other in self.also):
            return True
        if not isinstance(value, Integral if self.whole else Real):
            return False
        number = int(value) if isinstance(value, Integral) else float(value)
        low = -(MOST if self.whole else LARGEST) if self.low is None else self.low
        return (number > low if self.above else number >= low) and (
            number < self.most if self.below else number <= self.most
        )

    def wanted(self, value: object) -> str:
        """Return what is to be used in place of a value that is not allowed, in words."""
        if self.high is None and isinstance(value, Real) and self.most < float(value) < math.inf:
            return f"{self._kind} of at most {_said(self.most)}"
        return self.text

    @property
    def text(self) -> str:
        """The range in words; bounds of the arithmetic are left out, nobody comes near them unless by a slip."""
        if self.low is None or self.high is None:
            low = "" if self.low is None else f" {'above' if self.above else 'of at least'} {_said(self.low)}"
            bounds = low + (
                "" if self.high is None else f" {'below' if self.below else 'of at most'} {_said(self.high)}"
            )
        elif self.above and self.below:
            bounds = f" between {_said(self.low)} and {_said(self.high)}, both excluded"
        elif self.above or self.below:
            excluded = self.low if self.above else self.high
            bounds = f" from {_said(self.low)} to {_said(self.high)}, {_said(excluded)} excluded"
        else:
            bounds = f" from {_said(self.low)} to {_said(self.high)}"
        also = "".join(f", or {other}" for other in self.also if other is not None)
        return f"{self._kind}{bounds}{also}" + (f" ({self.note})" if self.note else "")

    @property
    def _kind(self) -> str:
        return "an integer" if self.whole else "a number"


@dataclass(frozen=True)
class Words:
    """One of some words."""

    words: tuple[str, ...]

    def holds(self, value: object) -> bool:
        """Whether a value is allowed."""
        return value in self.words

    @property
    def text(self) -> str:
        """The words."""
        return ", ".join(self.words)


def _said(number: float) -> str:
    return str(number) if isinstance(number, int) else f"{number:g}"


NUMBER: Final = Range()
AT_LEAST_0: Final = Range(0)
POSITIVE: Final = Range(0, above=True)
SHARE: Final = Range(0, 1)
OPEN_SHARE: Final = Range(0, 1, above=True, below=True)
POSITIVE_SHARE: Final = Range(0, 1, above=True)
CORRELATION: Final = Range(-1, 1)
COUNT: Final = Range(0, whole=True)
AT_LEAST_1: Final = Range(1, whole=True)
WORKERS: Final = Range(1, whole=True, largest=4096)
SEED: Final = Range(0, whole=True, largest=LARGEST_SEED)
RESAMPLES: Final = Range(1, whole=True, largest=1_000_000)
SUMMED_TOKENS: Final = Range(1, whole=True, largest=10**15)
TEMPERATURE: Final = Range(1e-4, also=(0,), note="0 takes the likeliest token")
SECONDS: Final = Range(0, above=True, largest=10**6)
PATIENCE: Final = Range(0, largest=10**6)

Number = Annotated[float, NUMBER]
AtLeast0 = Annotated[float, AT_LEAST_0]
Positive = Annotated[float, POSITIVE]
Share = Annotated[float, SHARE]
OpenShare = Annotated[float, OPEN_SHARE]
PositiveShare = Annotated[float, POSITIVE_SHARE]
Correlation = Annotated[float, CORRELATION]
Count = Annotated[int, COUNT]
AtLeast1 = Annotated[int, AT_LEAST_1]
Workers = Annotated[int, WORKERS]
Seed = Annotated[int, SEED]
Resamples = Annotated[int, RESAMPLES]
SummedTokens = Annotated[int, SUMMED_TOKENS]
SummedTokensOrNone = Annotated[int, replace(SUMMED_TOKENS, low=0)]
"""0: no limit."""
Temperature = Annotated[float, TEMPERATURE]
Seconds = Annotated[float, SECONDS]
Patience = Annotated[float, PATIENCE]


def restated(parent: Any, name: str, default: Any) -> Any:
    """Return a parent's field for a class with another default; what it means is said once, in the parent."""
    return field(default=default, metadata=parent.__dataclass_fields__[name].metadata)


def check(name: str, value: object, condition: Condition) -> None:
    """Check one setting's value.

    Raises:
        ConfigError: it is not allowed; the line names the setting and what is.
    """
    if not condition.holds(value):
        if isinstance(condition, Words):
            raise ConfigError(f"{name}: {value!r} is not one of {condition.text}")
        wanted = condition.wanted(value) if isinstance(condition, Range) else condition.text
        raise ConfigError(f"{name}: {value!r} is not allowed; use {wanted}")


def check_settings(settings: Any, names: Mapping[str, str] | None = None) -> None:
    """Check every field of a settings dataclass that has a condition; of a list, each element.

    None passes where the field's type names it.

    Args:
        settings: an instance.
        names: field → what the user calls it, where that differs.

    Raises:
        ConfigError: a value is not allowed; the line names the field.
    """
    settings_type: Any = type(settings)
    for name, condition in conditions(settings_type).items():
        value = getattr(settings, name)
        for one in value if isinstance(value, list) else (value,):
            check((names or {}).get(name, name), one, condition)


@functools.cache
def conditions(dataclass_type: Any) -> dict[str, Condition]:
    """Return field → what its values must be, for the fields of a dataclass that say so."""
    hints = typing.get_type_hints(dataclass_type, include_extras=True)
    inherited: Mapping[str, Range] = getattr(dataclass_type, "INHERITED_RANGES", {})
    found: dict[str, Condition] = {}
    for entry in fields(dataclass_type):
        hint = hints[entry.name]
        condition = entry.metadata.get("allowed")
        stated = _stated_in(hint) or inherited.get(entry.name)
        if condition is not None:
            found[entry.name] = condition
        elif isinstance(stated, Range) and type(None) in typing.get_args(hint):
            found[entry.name] = replace(stated, also=(*stated.also, None))
        elif stated is not None:
            found[entry.name] = stated
    return found


def _stated_in(hint: Any) -> Range | Words | None:
    for part in getattr(hint, "__metadata__", ()):
        if isinstance(part, Range | Words):
            return part
    parts = typing.get_args(hint)
    if typing.get_origin(hint) is Literal:
        return Words(parts) if all(isinstance(part, str) for part in parts) else None
    return next((found for found in map(_stated_in, parts) if found is not None), None)


def shares_by_name(
    setting: str, given: str | Mapping[str, Any] | None, names: Sequence[str], repeated: Sequence[str] = ()
) -> dict[str, float]:
    """Return shares that a setting gives by name, `{"check": 0.8}`, as a mapping or as its JSON.

    Args:
        setting: its name, for messages.
        given: what was given; None for nothing.
        names: those that there are.
        repeated: those of them that are drawn until they fail, so that a share of 1 would never end.

    Raises:
        ConfigError: it is no JSON object, holds another name, or a value that is no share.
    """
    shares = given or {}
    if isinstance(shares, str):
        try:
            shares = json.loads(shares)
        except json.JSONDecodeError as error:
            raise ConfigError(f'{setting}: {given!r} is not JSON ({error}); write {{"{names[0]}": 0.8}}') from error
    if not isinstance(shares, Mapping) or set(shares) - set(names):
        raise ConfigError(f"{setting}: {given!r} does not hold shares by name; the names are {', '.join(names)}")
    for name, value in shares.items():
        if not isinstance(value, (int, float)) or isinstance(value, bool) or not 0 <= value <= 1:
            raise ConfigError(f"{setting}: {name} is {value!r}; give a share from 0 to 1")
        if name in repeated and value == 1:
            raise ConfigError(f"{setting}: {name} is {value!r}, which never ends; give a share below 1")
    return dict(shares)
