"""The truth about a response, from its text alone: which steps does its answer rest on, be it right or wrong.

The equations are followed back from the boxed answer: a value is needed if it is the answer, or a number of an equation
that a needed value comes of; a wrong equation is followed where no right one stands before the value's use. The first
step that states a needed value, after a wrong one too, is essential. A step is redundant if it states nothing new, or
only values that the answer does not use while the way back from the answer ends at numbers of the question. A wrong
equation that the answer does not rest on is undecided, and so is whatever else is new.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Literal

from attnpo.gsmworld.equations import NUMBER, Equation, find_equations, find_numbers, to_number

Label = Literal["essential", "redundant", "undecided"]

_BOX = re.compile(rf"\\boxed\{{[^{{}}\d]*({NUMBER})[^{{}}]*\}}")
_DENIED = re.compile(rf"\bnot ({NUMBER})")


def label_steps(question: str, response: str, steps: Sequence[tuple[int, int]]) -> list[Label]:
    """Label the steps of a response; never raises on text.

    Args:
        question: the question's text.
        response: the response's text.
        steps: half-open character spans of `response`, in order.
    """
    texts = [response[start:stop] for start, stop in steps]
    final = response[steps[-1][1] :] if steps else response
    given = set(find_numbers(question))
    reader = _Reader(given, needed_values(given, texts, final))
    return [reader.read(text) for text in texts]


def first_error(question: str, response: str, steps: Sequence[tuple[int, int]]) -> int | None:
    """Return the first step that states an equation which does not hold; never raises on text.

    Where all hold, the number of steps if the error of a wrong response can be seen behind them: an equation there does
    not hold, or the boxed answer stands neither in a step nor as the value of an equation behind them. Else None: the
    answer comes of equations that hold, one of which must be the wrong one to work out, and which cannot be told.
    """
    texts = [response[start:stop] for start, stop in steps]
    for number, text in enumerate(texts):
        if not all(equation.right for equation in find_equations(text)):
            return number
    final = response[steps[-1][1] :] if steps else response
    last = find_equations(final)
    said = {number for text in texts for number in find_numbers(text)} | {equation.value for equation in last}
    boxes = _BOX.findall(final)
    if all(equation.right for equation in last) and (not boxes or to_number(boxes[-1]) in said):
        return None
    return len(steps)


@dataclass(frozen=True)
class Needed:
    """What an answer rests on.

    Attributes:
        values: the answer and the values that it was worked out from, a number of the question only where an equation
            comes to it.
        wrong: those that come of a wrong equation.
        is_traced: whether all of them were worked out from numbers of the question.
    """

    values: frozenset[Fraction]
    wrong: frozenset[Fraction]
    is_traced: bool


def needed_values(given: set[Fraction], texts: Sequence[str], final: str) -> Needed:
    """Follow the equations back from the answer.

    A value comes of an equation that stands before its use, a right one where there is one; the answer of what is
    stated behind the steps. Where nothing stands there, of any right one, a check or a value used early, unless it is a
    number of the question.

    Args:
        given: numbers of the question.
        texts: texts of the steps.
        final: what follows them; without a box, all values that it works out count as the answer.
    """
    last = find_equations(final)
    everything = [*(equation for text in texts for equation in find_equations(text)), *last]
    boxes = _BOX.findall(final)
    answers = [to_number(boxes[-1])] if boxes else [equation.value for equation in last]
    ends = {equation.value: _first_place(everything, equation) for equation in last if equation.right}
    open_values = [(value, ends.get(value), len(everything)) for value in answers]
    sources: dict[Fraction, Equation] = {}
    needed: set[Fraction] = set()
    is_traced = bool(answers)
    while open_values:
        value, place, used = open_values.pop()
        if value in needed:
            continue
        if place is None:
            place = _source(everything, value, used, value in given)
        if place is not None:
            needed.add(value)
            sources[value] = everything[place]
            open_values += [(operand, None, place) for operand in everything[place].operands]
        elif value not in given:
            needed.add(value)
            is_traced = False
    wrong = {value for value, equation in sources.items() if not equation.right}
    return Needed(frozenset(needed), frozenset(wrong), is_traced)


def _first_place(equations: Sequence[Equation], wanted: Equation) -> int:
    """Return where an equation is stated first, or one of the same numbers that comes to the same value."""
    same = (wanted.numbers, wanted.value)
    return next(place for place, each in enumerate(equations) if (each.numbers, each.value) == same)


def _source(equations: Sequence[Equation], value: Fraction, used: int, is_given: bool) -> int | None:
    """Return the place of the equation that a value comes of, given the place where it is used.

    What stands behind its use counts where nothing stands before it, but for the user's own inverse, which checks it.
    """
    places = [place for place, equation in enumerate(equations) if equation.value == value]
    before = [place for place in places if place < used]
    user = equations[used].numbers if used < len(equations) else None
    behind = [] if is_given else [place for place in places if equations[place].numbers != user]
    right = [place for place in before or behind if equations[place].right]
    return next(iter(right or before), None)


@dataclass
class _Reader:
    """Reads steps in order; knows what was stated before."""

    given: set[Fraction]
    needed: Needed
    stated: set[Fraction] = field(default_factory=set)
    """Values that were worked out or claimed; no wrong ones, but those that the answer rests on."""
    seen: set[tuple[Fraction, ...]] = field(default_factory=set)
    """Numbers of the equations so far that count: those of an inverse are the same."""
    mistaken: set[tuple[Fraction, ...]] = field(default_factory=set)
    """Of these the wrong ones that the answer rests on, whose inverse is as wrong and checks them nevertheless."""

    def read(self, text: str) -> Label:
        equations = find_equations(text)
        denied = {to_number(figure) for figure in _DENIED.findall(text)}
        claimed = set(find_numbers(_outside(text, equations))) - self.given - denied
        counted = [
            equation
            for equation in equations
            if equation.right or equation.value in self.needed.wrong or equation.numbers in self.mistaken
        ]
        label = self._label(equations, counted, claimed, bool(denied))
        self.seen |= {equation.numbers for equation in counted}
        self.mistaken |= {equation.numbers for equation in counted if not equation.right}
        self.stated |= {equation.value for equation in counted}
        self.stated |= claimed - {equation.value for equation in equations if equation not in counted}
        return label

    def _label(
        self, equations: Sequence[Equation], counted: Sequence[Equation], claimed: set[Fraction], denies: bool
    ) -> Label:
        if len(counted) < len(equations):
            return "undecided"
        fresh = {equation.value for equation in equations if equation.numbers not in self.seen} | claimed
        fresh -= self.stated
        if fresh & self.needed.values:
            return "essential"
        if denies:
            return "undecided"
        return "redundant" if not fresh or (equations and self.needed.is_traced) else "undecided"


def _outside(text: str, equations: Sequence[Equation]) -> str:
    """The text without its equations."""
    for equation in reversed(equations):
        start, stop = equation.span
        text = f"{text[:start]};{text[stop:]}"
    return text
