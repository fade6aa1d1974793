"""The normal form of a mathematical answer, which equal answers share, for majority votes; runs in a worker process."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Sequence
from typing import Any

from math_verify.grader import is_assignment_relation, is_relation, take_last_relation, unwrap_fcs
from sympy import (
    Basic,
    Expr,
    Float,
    Interval,
    MatrixBase,
    Symbol,
    Tuple,
    Union,
    cancel,
    expand,
    fraction,
    nsimplify,
    together,
)
from sympy import FiniteSet as SympyFiniteSet

from attnpo.verification.answer import boxed_answer
from attnpo.verification.math_clock import clock, ratio
from attnpo.verification.math_judge import parsed
from attnpo.verification.math_lists import has_dots, in_braces, members, spelled
from attnpo.verification.math_numbers import plain_number
from attnpo.verification.math_text import tidy, tidy_sentence, without_unit_power

_DIGITS = 12
_NAMED = re.compile(r"\s*([a-zA-Z](?:_\w)?|\\[a-z]+)\s*=")
_WORDS = re.compile(r"(?:\\(?:text|mathrm|textbf|textit|mbox)\s*\{\s*)?\(?([A-Za-z][A-Za-z\s-]{2,})\)?\s*\}?")


def normal_form(text: str) -> str | None:
    r"""Return the form of an answer, None where the text states none.

    Numbers of one exact value share `p/q` (`\frac12`, `0.5`, `1/2`, `50\%`); other constants share twelve digits
    (`2\sqrt{2}`, `\sqrt{8}`); expressions are cancelled and expanded; sets are sorted; an inequality in one variable is
    its interval; of `x = 5` and of `f(x) = 5` the right side counts; words count in lower case.

    Args:
        text: the response's final answer, a single `\boxed{…}` or a whole text to find the answer in.
    """
    content = boxed_answer(text)
    if content is not None:
        content = tidy(content)
        if form := _form_of_parts(content):
            return form
        # Without a reference `15m^2` may be algebra, but with a space the letters are a unit.
        bare = without_unit_power(content)
        number = plain_number(bare if content[len(bare) : len(bare) + 1] in ("", " ", "\\") else content)
        if number is not None:
            return str(number.value * number.unit)
        if match := _WORDS.fullmatch(content):
            return " ".join(match[1].lower().split())
        text = rf"\boxed{{{content}}}"
    else:
        text = tidy_sentence(text)
    found = parsed(text)
    if not found:
        return " ".join(content.split()) or None if content is not None else None
    if isinstance(found[0], (Basic, MatrixBase)):
        # sympy fails on odd expressions in many ways; equal texts still share their form then.
        with contextlib.suppress(Exception):
            return _form(found[0])
    return " ".join(str(found[-1]).split())


def _form_of_parts(content: str) -> str | None:
    """Return the form of what is no single expression: a time, a ratio, a sequence, a list or a set."""
    time = clock(content)
    if time and time.sure:
        return str(time)
    if terms := ratio(content):
        return _form_of_ratio(terms)
    listed = members(content)
    if has_dots(content):
        return ", ".join(_form_of_members(listed)) if listed else spelled(content)
    if not listed:
        return None
    forms = sorted(_form_of_members(listed))
    return f"{{{', '.join(forms if in_braces(content) is None else dict.fromkeys(forms))}}}"


def _form_of_ratio(terms: Sequence[str]) -> str | None:
    first, *rest = terms
    quotients = [rf"\frac{{{first}}}{{{term}}}" for term in rest]
    return " : ".join(normal_form(rf"\boxed{{{quotient}}}") or quotient for quotient in quotients)


def _form_of_members(listed: Sequence[str]) -> list[str]:
    # Where they are values of different variables, the names tell them apart.
    names = [match[1] if (match := _NAMED.match(member)) else "" for member in listed]
    several = len(set(names)) > 1
    forms = [normal_form(rf"\boxed{{{member}}}") or member for member in listed]
    return [f"{name} = {form}" if several and name else form for name, form in zip(names, forms, strict=True)]


def _form(value: Any) -> str:
    if isinstance(value, Basic) and is_assignment_relation(value):
        return _form(take_last_relation(value).rhs)
    if isinstance(value, MatrixBase):
        return f"[{'; '.join(', '.join(_form(cell) for cell in value.row(n)) for n in range(value.rows))}]"
    if isinstance(value, SympyFiniteSet):
        return f"{{{', '.join(sorted({_form(member) for member in value.args}))}}}"
    if isinstance(value, Tuple):
        return f"({', '.join(map(_form, value.args))})"
    if isinstance(value, Interval):
        left, right = "(" if value.left_open else "[", ")" if value.right_open else "]"
        return f"{left}{_form(value.start)}, {_form(value.end)}{right}"
    if isinstance(value, Union):
        return " U ".join(sorted(map(_form, value.args)))
    if is_relation(value):
        return _relation_form(value)
    if isinstance(value, Symbol):
        return value.name.lower() if len(value.name) > 1 else value.name
    return _expression_form(value) if isinstance(value, Expr) else str(value)


def _relation_form(relation: Any) -> str:
    if len(relation.free_symbols) == 1:
        try:
            solutions = unwrap_fcs(relation).as_set()
        except Exception:  # sympy knows no set for it, which it says in many ways
            return str(relation)
        if not is_relation(solutions):
            return _form(solutions)
    return str(relation)


def _expression_form(expression: Any) -> str:
    value = expression.doit()
    if value.has(Float):
        value = nsimplify(value, rational=True)
    if value.is_Rational or value.is_infinite:
        return str(value)
    if not value.free_symbols:
        real, imaginary = value.evalf(_DIGITS).as_real_imag()
        parts = [f"{float(part):.{_DIGITS - 1}g}" for part in (real, imaginary)]
        return parts[0] if float(imaginary) == 0 else f"{parts[0]} + {parts[1]}i"
    if value.is_rational_function():
        top, bottom = fraction(cancel(together(value)))
        return str(expand(top)) if bottom == 1 else f"({expand(top)})/({expand(bottom)})"
    return str(expand(value))
