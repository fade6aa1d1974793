"""Equations in English text: what is worked out from which numbers, units and currency signs dropped."""

from __future__ import annotations

import ast
import operator
import re
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction

_PLAIN = r"(?:(?:\d{1,3}(?:,\d{3})+|\d+)(?:\.\d+)?|\.\d+)"
NUMBER = rf"[$€£]?{_PLAIN}%?"
"""A figure, with its currency or percent sign."""
_OPERATOR = r"(?:[-+*×÷–−]|/|\bx\b|(?<=\d)x(?=\d)|\\times|\\div|\\cdot)"
_UNIT = r"(?:[ /](?!x\b)[A-Za-z][A-Za-z'’-]*){0,4}"
_OPERAND = rf"(?:\(\s*)?{NUMBER}{_UNIT}(?:\s*\))?"
_EQUATION = re.compile(
    rf"(?<![\d.,/*×÷+])(?P<left>{_OPERAND}(?:\s*{_OPERATOR}\s*{_OPERAND})+)\s*=\s*(?P<value>{NUMBER})(?![\d]|[.,]\d)"
)
_MOST_DIGITS = 30
"""Digits behind the point that are looked for at most."""
_STANDING = re.compile(rf"(?<![\d.,])({_PLAIN})(?![\d]|[.,]\d)")
_SIGNS = {"×": "*", "÷": "/", "–": "-", "−": "-", "\\times": "*", "\\div": "/", "\\cdot": "*"}
_OPERATIONS: dict[type[ast.operator], Callable[[Fraction, Fraction], Fraction]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
}


@dataclass(frozen=True)
class Equation:
    """A stated equation.

    Attributes:
        left: the expression with clean signs, for example `40 * 3`; `40 * 25/100` for a share, as in `40 * 25%`.
        operands: its numbers, in order.
        value: what the text says it comes to.
        result: what it comes to; None where it divides by zero.
        span: where it stands in the text, half-open.
    """

    left: str
    operands: tuple[Fraction, ...]
    value: Fraction
    result: Fraction | None
    span: tuple[int, int]

    @property
    def right(self) -> bool:
        """Whether the stated value is the true one."""
        return self.value == self.result

    @property
    def numbers(self) -> tuple[Fraction, ...]:
        """Its numbers, value included, in order of size: the same for `24*2=48` and its inverse `48/2=24`."""
        return tuple(sorted((*self.operands, self.value)))


def find_equations(text: str) -> list[Equation]:
    """Return the equations of a text that state a number, in order; never raises."""
    found = []
    for match in _EQUATION.finditer(text):
        left, value = _clean(match["left"]), to_number(match["value"])
        operands = tuple(Fraction(text) for text in re.findall(r"\d*\.?\d+", left))
        try:
            result = _worked_out(left)
            if value != result and "%" in match["left"]:  # a share of something, as in 40 * 25% = 10
                share = _clean(match["left"].replace("%", "/100"))
                left, result = (share, value) if value == _worked_out(share) else (left, result)
        except (SyntaxError, RecursionError, MemoryError):  # brackets in the wrong order; a sum without end
            continue
        found.append(Equation(left, operands, value, result, match.span()))
    return found


def find_numbers(text: str) -> list[Fraction]:
    """Return the numbers that stand in a text in figures, in order."""
    return [to_number(figure) for figure in _STANDING.findall(text)]


def to_number(figure: str) -> Fraction:
    """Return a figure such as `$1,250.50` or `40%` as a number; a percent sign is dropped, as any unit."""
    return Fraction(figure.strip("$€£%").replace(",", ""))


def write_number(number: Fraction) -> str:
    """Return a number in figures: whole, or as a decimal; one that has no end is rounded to six digits."""
    if number.denominator == 1:
        return str(number.numerator)
    digits = next((n for n in range(1, _MOST_DIGITS) if 10**n % number.denominator == 0), None)
    if digits is None:
        return f"{float(number):g}"
    whole, decimals = divmod(abs(number.numerator) * 10**digits // number.denominator, 10**digits)
    return f"{'-' * (number < 0)}{whole}.{decimals:0{digits}d}"


def _clean(left: str) -> str:
    """Drop units, currency and percent signs; write operators as Python does."""
    for sign, plain in _SIGNS.items():
        left = left.replace(sign, plain)
    left = re.sub(r"(?<=[\d\s)])x(?=[\s\d(])", "*", left)
    left = re.sub(r"(?<=\d),(?=\d)", "", left)
    left = re.sub(r"/?[A-Za-z][A-Za-z'’-]*|[$€£%]", " ", left)
    left = re.sub(r"(?<![\d.])0+(?=\d)", "", left)
    if left.count("(") != left.count(")"):  # one of them encloses the whole equation
        left = left.replace("(", "").replace(")", "")
    return " ".join(left.split())


def _worked_out(expression: str) -> Fraction | None:
    return _evaluate(ast.parse(expression, mode="eval").body)


def _evaluate(tree: ast.expr) -> Fraction | None:
    if isinstance(tree, ast.Constant):
        return Fraction(str(tree.value))
    if not isinstance(tree, ast.BinOp):
        return None
    left, right = _evaluate(tree.left), _evaluate(tree.right)
    if left is None or right is None or (isinstance(tree.op, ast.Div) and right == 0):
        return None
    operation = _OPERATIONS.get(type(tree.op))
    return None if operation is None else operation(left, right)
