"""Comparison of two mathematical answers; runs inside a worker process.

What an answer is made of is read off its tidied text: parts of lists and sequences, times of day, ratios, plain
numbers. What is left is an expression, which math-verify compares.
"""

from __future__ import annotations

import functools
import logging
import re
from collections.abc import Callable, Sequence
from fractions import Fraction
from typing import Any

from math_verify import parse, verify
from sympy import Basic, I

from attnpo.verification import math_values
from attnpo.verification.answer import boxed_answer
from attnpo.verification.math_clock import clock, ratio, same_time
from attnpo.verification.math_lists import has_dots, in_braces, members, spelled
from attnpo.verification.math_numbers import plain_number, same_in_base, same_number
from attnpo.verification.math_text import tidy, tidy_sentence, without_unit_power

# math-verify warns once that its own limits are off; the worker's hard limit stands in for them.
logging.getLogger("math_verify").setLevel(logging.ERROR)
math_values.install()

_PARSED_KEPT = 1024
_UNIT_I = re.compile(r"(?<![a-zA-Z])i(?![a-zA-Z])")
_BRACED = re.compile(r"(?:\\left\s*)?\\\{.*\\\}", re.DOTALL)
_BRACKETED = re.compile(r"(?:\\left\s*)?[(\[][^()\[\]]*,[^()\[\]]*[)\]]")
_NO_VARIABLE = re.compile(r"(?:[^a-zA-Z\\]|\\(?:[dtc]?frac|sqrt|pi|cdot|left|right|circ)(?![a-zA-Z])|\\[^a-zA-Z])*")
_TEXT_UNIT = re.compile(r"\\(?:text|mbox|mathrm)\s*\{[^{}]*\}(?:\^\{?\d\}?)?\s*\Z")
_UNIT_LIKE_VARIABLE = re.compile(r"(?<=[\d)}\s])([cdghlmost])\Z")
_ASSIGNED = re.compile(r"\s*([a-zA-Z](?:_\w|_\{\w+\})?|\\[a-z]+)\s*=((?:(?!\\[lg]eq?|\\neq?|\\in(?![a-z]))[^=<>])+)")
_RELATION = re.compile(r"[=<>]|\\(?:[lg]e|ne|lt|gt|in(?![a-z]))")
_HOUR_SECONDS = 3600


def same_answer(answer: str, reference: str) -> bool:
    r"""Return whether two answers are mathematically equal.

    Args:
        answer: the response's final answer, a single `\boxed{…}` or a whole text to find the answer in.
        reference: the reference answer in `\boxed{…}`.
    """
    given, wanted = boxed_answer(answer), boxed_answer(reference) or ""
    if given is None:
        return _math_verify(tidy_sentence(answer), _boxed(tidy(wanted)))
    return _same(given, wanted)


def _same(given: str, wanted: str) -> bool:
    """Compare the contents of two boxes: the first kind of answer that either is decides, else math-verify does."""
    given_list, wanted_list = (members(tidy(text, grouped=False)) for text in (given, wanted))
    given, wanted = tidy(given), tidy(wanted)
    if given == wanted:
        return bool(given)
    # `100,200` is a list only where the other side is one in any reading.
    if given_list and wanted_list and (members(given) or members(wanted)):
        return _same_members(given, wanted, given_list, wanted_list)
    for decide in _KINDS:
        decided = decide(given, wanted)
        if decided is not None:
            return decided
    if _NO_VARIABLE.fullmatch(_TEXT_UNIT.sub("", wanted)):
        given = without_unit_power(given)
    elif _UNIT_LIKE_VARIABLE.search(wanted):
        # Else math-verify takes the letter for a unit, and `6m` equals 6. References write units as \text.
        given, wanted = (_UNIT_LIKE_VARIABLE.sub(r"{\1}", text) for text in (given, wanted))
    return _math_verify(_boxed(given), _boxed(wanted))


def _math_verify(answer: str, reference: str) -> bool:
    readings = parsed(reference), parsed(answer)
    if all(readings) and math_values.far_apart(readings[0][0], readings[1][0]):
        return False
    # Its own limits use signals with whole seconds, which C code such as a huge power can delay without bound.
    return verify(*readings, timeout_seconds=None, allow_set_relation_comp=True)


@functools.lru_cache(_PARSED_KEPT)
def parsed(text: str) -> list[Any]:
    """Return what math-verify reads out of a text: expressions, then the text itself; kept for the next questions.

    It reads `i` as a variable: here an `i` apart from other letters is the imaginary unit, where that can be.
    """
    values = parse(text, parsing_timeout=None)
    return (
        [_with_unit_i(value) if isinstance(value, Basic) else value for value in values]
        if _UNIT_I.search(text)
        else values
    )


def _with_unit_i(value: Basic) -> Basic:
    try:
        return value.xreplace({name: I for name in value.free_symbols if str(name) == "i"})
    except math_values.NO_NUMBER:
        # The unit has no place in an order: in an interval, an inequality or a maximum `i` stays a name.
        return value


def _same_members(given: str, wanted: str, given_list: Sequence[str], wanted_list: Sequence[str]) -> bool:
    if has_dots(given) or has_dots(wanted):
        # A sequence: its order is what the dots stand for.
        return len(given_list) == len(wanted_list) and all(map(_same, given_list, wanted_list))
    if in_braces(wanted) is not None:
        # Members of a set count once.
        return all(any(_same(one, other) for one in given_list) for other in wanted_list) and all(
            any(_same(one, other) for other in wanted_list) for one in given_list
        )
    left = list(given_list)
    for other in wanted_list if len(left) == len(wanted_list) else ():
        found = next((place for place, one in enumerate(left) if _same(one, other)), None)
        if found is None:
            return False
        del left[found]
    return not left


def _same_numbers(given: str, wanted: str) -> bool | None:
    numbers = plain_number(given), plain_number(wanted)
    return None if numbers[0] is None or numbers[1] is None else same_number(numbers[0], numbers[1])


def _same_assigned(given: str, wanted: str) -> bool | None:
    """Compare the values of one variable, or one with a bare value; None where a name stands on neither side."""
    named = _ASSIGNED.fullmatch(given), _ASSIGNED.fullmatch(wanted)
    if named[0] and named[1]:
        # Of different names math-verify knows which differ in letters only.
        return _same(named[0][2], named[1][2]) if named[0][1] == named[1][1] else None
    if named[0] and not _RELATION.search(wanted):
        return _same(named[0][2], wanted)
    if named[1] and not _RELATION.search(given):
        return _same(given, named[1][2])
    return None


def _same_times(given: str, wanted: str) -> bool | None:
    """Compare times of day; a bare number passes for the full hour, for which `p.m.` is a unit like any other."""
    times = clock(given), clock(wanted)
    if times[0] and times[1]:
        return same_time(times[0], times[1])
    time, other = (times[0], wanted) if times[0] else (times[1], given)
    if not time or not time.sure:
        return None
    number = plain_number(other)
    hour = Fraction(time.seconds, _HOUR_SECONDS) or 12
    return bool(time.half and number and hour.denominator == 1 and number.value == hour)


def _same_ratios(given: str, wanted: str) -> bool | None:
    """Compare ratios term by term; one of two terms passes for its quotient."""
    given_terms, wanted_terms = ratio(given), ratio(wanted)
    if given_terms and wanted_terms:
        shares = [[rf"\frac{{{terms[0]}}}{{{term}}}" for term in terms[1:]] for terms in (given_terms, wanted_terms)]
        return len(shares[0]) == len(shares[1]) and all(map(_same, *shares))
    terms = given_terms or wanted_terms
    if terms is None:
        return None
    if len(terms) > 2:
        return False
    quotient = rf"\frac{{{terms[0]}}}{{{terms[1]}}}"
    return _same(quotient, wanted) if given_terms else _same(given, quotient)


def _same_with_dots(given: str, wanted: str) -> bool | None:
    return spelled(given) == spelled(wanted) if has_dots(given) or has_dots(wanted) else None


def _braces_and_brackets(given: str, wanted: str) -> bool | None:
    # math-verify takes both {2, 4} and the interval (2, 4) for the point (2, 4).
    pairs = (given, wanted), (wanted, given)
    return False if any(_BRACED.fullmatch(one) and _BRACKETED.fullmatch(other) for one, other in pairs) else None


_KINDS: list[Callable[[str, str], bool | None]] = [_same_numbers, _same_assigned, same_in_base]
_KINDS += [_same_times, _same_ratios, _same_with_dots, _braces_and_brackets]


def _boxed(content: str) -> str:
    return rf"\boxed{{{content}}}"


# The first comparison builds grammar and patterns: done on import, it costs no answer any of its time. math-verify
# keeps its errors to itself: without its parser every answer would be wrong.
if not same_answer(r"\boxed{\frac{x}{2}}", r"\boxed{0.5x}"):
    raise ImportError(r"math-verify reads no LaTeX (\frac{x}{2} is not 0.5x): install attnpo's requirements again")
