"""Answers that are plain numbers, read exactly: no algebra is needed to compare them."""

from __future__ import annotations

import re
from fractions import Fraction
from typing import NamedTuple

_WORDS = {"hundred": 2, "thousand": 3, "million": 6, "billion": 9, "trillion": 12}
_GAP = r"(?:\s|\\[ ,;])"
_PLAIN = re.compile(
    r"(?:([a-zA-Z])\s*=\s*)?(?:\\?\$)?([-+]?)\s*"
    r"(?:(\d{1,30})|(\d{0,30}\.\d{1,30})|\\[dtc]?frac\s*\{\s*([-+]?\d{1,30})\s*\}\s*\{\s*(\d{1,30})\s*\}"
    r"|(\d{1,30})\s*/\s*(\d{1,30}))"
    rf"(?:\^\{{\\circ\}})?\s*(\\%)?(?:{_GAP}*(?:\\(?:text|mbox|mathrm)\s*\{{\s*)?({'|'.join(_WORDS)})s?\s*\}}?)?",
    re.ASCII,
)
_BASED = re.compile(r"(\d+)\s*_\s*(?:(\d+)|\{\s*(\d+)\s*\})", re.ASCII)
_ROUNDED_PLACES = 6
_ROUNDED_SHARE = Fraction(1, 10**5)


class PlainNumber(NamedTuple):
    """An integer, a decimal, or a fraction of integers.

    Attributes:
        value: the number, before a percent sign divides it or a word multiplies it.
        rounded: whether it is written with a decimal point, so that it may stand for a rounded value.
        unit: what a percent sign (1/100) or a word such as "million" behind the number stands for, 1 where none does.
        name: the variable it is said to be the value of, empty where none is named.
    """

    value: Fraction
    rounded: bool
    unit: Fraction
    name: str


def plain_number(text: str) -> PlainNumber | None:
    r"""Return the number that a tidied answer states plainly (`-3`, `\frac{1}{2}`, `x = 5`, `8\%`, `2 million`)."""
    match = _PLAIN.fullmatch(text)
    if match is None:
        return None
    name, sign, whole, decimal, top, bottom, left, right, percent, word = match.groups()
    if whole or decimal:
        value = Fraction(whole or decimal)
    else:
        below = int(bottom or right)
        if below == 0:
            return None
        value = Fraction(int(top or left), below)
    unit = Fraction(1, 100) if percent else Fraction(10 ** _WORDS[word] if word else 1)
    return PlainNumber(-value if sign == "-" else value, bool(decimal), unit, name or "")


def same_number(given: PlainNumber, wanted: PlainNumber) -> bool:
    """Return whether two plain numbers are one answer.

    A percent sign on one side only may be a factor of 1/100 or a mere unit: 50% equals 0.5 and 50, as math-verify has
    it for whole numbers; so may "million". On both sides what they stand for must agree. A value of another variable is
    another answer.
    """
    if given.name and wanted.name and given.name != wanted.name:
        return False
    if given.unit == wanted.unit:
        return _close(given, wanted)
    if 1 in (given.unit, wanted.unit) and _close(given, wanted):
        return True
    return _close(*(number._replace(value=number.value * number.unit) for number in (given, wanted)))


def same_in_base(given: str, wanted: str) -> bool | None:
    """Compare numbers written in a base (`204_5`), None where neither is; a base that only one states is assumed."""
    bases = [_BASED.fullmatch(text) for text in (given, wanted)]
    if not any(bases):
        return None
    digits = [match[1] if match else text for match, text in zip(bases, (given, wanted), strict=True)]
    stated = {match[2] or match[3] for match in bases if match}
    return digits[0] == digits[1] and len(stated) == 1


def _close(first: PlainNumber, second: PlainNumber) -> bool:
    if first.value == second.value:
        return True
    if not (first.rounded or second.rounded):
        return False
    # math-verify rounds to six places, which alone would make 0.0000672 and 0.0000670 equal.
    difference = abs(first.value - second.value)
    rounded = round(first.value, _ROUNDED_PLACES) == round(second.value, _ROUNDED_PLACES)
    return rounded and difference <= _ROUNDED_SHARE * max(abs(first.value), abs(second.value))
