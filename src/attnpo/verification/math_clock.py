"""Times of day and ratios: two numbers with a colon between them, which are no division."""

from __future__ import annotations

import math
import re
from typing import NamedTuple

from attnpo.verification.math_braces import split_outside

_WRAPPING = re.compile(r"\\(?:text|mbox|mathrm|textbf|mathbf|textrm)(?![a-zA-Z])|[{}~]|\\[ ,;:!]")
_TIME = re.compile(r"\s*(\d{1,2})(?::(\d\d))?(?::(\d\d))?\s*(?:([ap])\s*\.?\s*m\s*\.?)?\s*", re.ASCII | re.IGNORECASE)
_COLON = re.compile(r"\s*(?:\\!\s*)?(?:\\mathbin\s*\{:\}|\{:\}|\\colon(?![a-zA-Z])|:)\s*(?:\\!)?\s*")
_TERM = re.compile(
    r"(?:[^a-zA-Z\\=<>,;|]|\\(?:[dtc]?frac|sqrt|pi|cdot|left|right)(?![a-zA-Z])|\\[!,; ]"
    r"|(?<![a-zA-Z])[a-zA-Z](?![a-zA-Z]))+"
)
_NAMED = re.compile(r"[a-zA-Z](?:\s*:\s*[a-zA-Z])+\s*=\s*")
_HOURS, _SIXTY = 24, 60


class Clock(NamedTuple):
    """A time of day.

    Attributes:
        seconds: since midnight (since noon or midnight where `half` is empty and the hour is 12 or less).
        half: `a` or `p` for a.m. or p.m., empty where neither is stated.
        sure: False where it may be a ratio in lowest terms (`3:10`) or a plain hour.
    """

    seconds: int
    half: str
    sure: bool

    def __str__(self) -> str:
        minutes, seconds = divmod(self.seconds, _SIXTY)
        time = f"{minutes // _SIXTY}:{minutes % _SIXTY:02}" + (f":{seconds:02}" if seconds else "")
        return f"{time} {self.half}m" if self.half else time


def clock(text: str) -> Clock | None:
    r"""Return the time of day that a text states (`10:30`, `5\text{ p.m.}`, `17:00`), None where it states none."""
    match = _TIME.fullmatch(
        _WRAPPING.sub(lambda found: " " if found[0][0] in "~\\" and found[0][-1] in " ~,;:" else "", text)
    )
    if match is None:
        return None
    hour, minute, second = int(match[1]), int(match[2] or 0), int(match[3] or 0)
    half = (match[4] or "").lower()
    if match[2] is None and not half:
        return None
    if not (0 < hour <= _HOURS // 2 if half else hour <= _HOURS) or minute >= _SIXTY or second >= _SIXTY:
        return None
    # A ratio is written in lowest terms, without a leading zero.
    ratio = match[3] is None and match[2] is not None and not match[2].startswith("0") and math.gcd(hour, minute) == 1
    if half and hour == _HOURS // 2:
        hour = 0
    return Clock((hour * _SIXTY + minute) * _SIXTY + second, half, bool(half) or not ratio)


def same_time(first: Clock, second: Clock) -> bool:
    """Return whether two times are one; where only one says a.m. or p.m., the other may be read either way."""
    if (first.half and second.half) or not (first.half or second.half):
        return first[:2] == second[:2]
    stated, other = (first, second) if first.half else (second, first)
    half_day = _HOURS // 2 * _SIXTY * _SIXTY
    of_day = stated.seconds + (half_day if stated.half == "p" else 0)
    return other.seconds == of_day or (
        other.seconds <= half_day + _SIXTY * _SIXTY and other.seconds % half_day == stated.seconds
    )


def ratio(text: str) -> list[str] | None:
    r"""Return the terms of a ratio (`2:3:4`, `1 : \sqrt{3}`, `a:b = 2:3`), None where the text is none."""
    text = _NAMED.sub("", text, count=1)
    terms = [term.strip() for term in split_outside(text, _COLON)]
    return terms if len(terms) > 1 and all(_TERM.fullmatch(term) for term in terms) else None
