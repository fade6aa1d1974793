"""How math-verify compares two values, made relative and, for exact numbers, exact.

math-verify's own comparison rounds to places behind the point and drops what is below 1e-15: all small values are
equal. It is the one place where sets, points, intervals, relations and matrices compare their members, and it has no
setting for a relative comparison. This module therefore replaces it, in the worker's process.
"""

from __future__ import annotations

from typing import Any

from math_verify import grader
from sympy import Expr, Float, MatrixBase, MatrixExpr, Rational

_DIGITS = 40
_FEW_DIGITS = 15
_FAR = Rational(1, 100)
_TINY = Rational(1, 10**9)
_ROUNDED = Rational(1, 10**5)
_EXACT = Rational(1, 10**30)

NO_NUMBER = (TypeError, ValueError, ArithmeticError, AttributeError, NotImplementedError)
"""What sympy raises where an expression has no value of the kind that is asked for."""

_math_verify_equal = grader.sympy_numeric_eq


def same_value(first: Any, second: Any, float_rounding: int, numeric_precision: int) -> bool:
    """Return whether two values are equal as math-verify sees them, and not apart by more than their notation allows.

    Args:
        first: sympy expression.
        second: sympy expression.
        float_rounding: places to which math-verify rounds where one of them is a decimal.
        numeric_precision: digits of math-verify's numeric comparison.
    """
    if not _math_verify_equal(first, second, float_rounding, numeric_precision):
        return False
    if isinstance(first, (MatrixBase, MatrixExpr)) or isinstance(second, (MatrixBase, MatrixExpr)):
        return True
    percent = [grader.get_pct_val(value) is not None for value in (first, second)]
    return (any(percent) and not all(percent)) or not _apart(first, second)


def _apart(first: Any, second: Any) -> bool:
    """Return whether the values differ, at one point where they have variables, by more than a share of the larger."""
    rounded = first.has(Float) or second.has(Float)
    first, second = (grader.safe_sympy_doit(value) for value in (first, second))
    if first.is_Rational and second.is_Rational and not rounded:
        return bool(first != second)
    # Any point will do at which no two different answers are likely to agree.
    names = sorted(first.free_symbols | second.free_symbols, key=str)
    point = {name: Rational(17 + 6 * number, 13) for number, name in enumerate(names)}
    try:
        values = [_complex_parts(value.subs(point)) for value in (first, second)]
        size = max(abs(part) for value in values for part in value)
        share = _ROUNDED if rounded else _EXACT
        return bool(any(abs(one - other) > share * size for one, other in zip(*values, strict=True)))
    except NO_NUMBER:
        # No number at that point: math-verify's word stands.
        return False


def far_apart(first: Any, second: Any) -> bool:
    """Return whether two readings are constants so different that no algebra can make them equal.

    Most wrong answers are; math-verify would simplify their difference at length before it said so.
    """
    if not (isinstance(first, Expr) and isinstance(second, Expr)) or first.free_symbols or second.free_symbols:
        return False
    if any(grader.get_pct_val(value) is not None for value in (first, second)):
        return False
    try:
        parts = [value.evalf(_FEW_DIGITS).as_real_imag() for value in (first, second)]
        size = max(abs(part) for pair in parts for part in pair)
        # What is tiny may be a zero that was not recognized.
        return bool(size > _TINY and any(abs(one - other) > _FAR * size for one, other in zip(*parts, strict=True)))
    except NO_NUMBER:
        return False


def _complex_parts(value: Any) -> tuple[Any, Any]:
    """Return real and imaginary part as floats of 40 digits."""
    real, imaginary = value.evalf(_DIGITS).as_real_imag()
    return real.evalf(_DIGITS), imaginary.evalf(_DIGITS)


def install() -> None:
    """Let math-verify compare values with `same_value`."""
    grader.sympy_numeric_eq = same_value
