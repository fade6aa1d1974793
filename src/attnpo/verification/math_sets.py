r"""Sets of numbers in the notation math-verify reads: `]2,5[` and `x < 3 \text{ or } x > 5` become intervals."""

from __future__ import annotations

import re

from attnpo.verification.math_braces import split_outside

_END = r"\s*([^\s\[\](),;][^\[\](),;]*?)\s*"
_SQUARE = re.compile(rf"(?:\\left\s*)?([\[\]]){_END}[,;]{_END}(?:\\right\s*)?([\[\]])")
_EMPTY = re.compile(
    r"\\(?:varnothing|empty)(?![a-zA-Z])|(?:\\left\s*)?\\\{\s*(?:\\right\s*)?\\\}"
    r"|\A\\(?:text|mbox)\s*\{\s*(?:the\s+)?empty\s+set\s*\}\Z"
)
_OR = re.compile(
    r"\s*,?\s*(?:\\(?:text|mbox|textrm)\s*\{\s*or\s*\}|\\(?:lor|vee)(?![a-zA-Z])|(?<![a-zA-Z\\])or(?![a-zA-Z]))\s*"
)
_AND = re.compile(
    r"\s*,?\s*(?:\\(?:text|mbox|textrm)\s*\{\s*and\s*\}|\\(?:land|wedge)(?![a-zA-Z])|(?<![a-zA-Z\\])and(?![a-zA-Z]))\s*"
)
_SIGN = r"(<=|>=|<|>|=|\\(?:leqslant|geqslant|leq|geq|le|ge|lt|gt|neq|ne)(?![a-zA-Z]))"
_NAME = r"\s*([a-zA-Z]|\\[a-z]+)\s*"
_SIDE = r"\s*([^<>=,]+?)\s*"
_ONE_SIDED = re.compile(rf"{_NAME}{_SIGN}{_SIDE}")
_OTHER_SIDED = re.compile(rf"{_SIDE}{_SIGN}{_NAME}")
_TWO_SIDED = re.compile(rf"{_SIDE}{_SIGN}{_NAME}{_SIGN}{_SIDE}")
_FLIPPED = {"<": ">", ">": "<", "<=": ">=", ">=": "<="} | {
    rf"\{one}{end}": rf"\{other}{end}" for one, other in ("lg", "gl") for end in ("t", "e", "eq", "eqslant")
}
_BELOW = ("<", "<=", r"\lt", r"\le", r"\leq", r"\leqslant")
_STRICT = ("<", ">", r"\lt", r"\gt")


def plain_sets(text: str) -> str:
    r"""Return the text with sets in one notation.

    `\varnothing` and `\{\}` become `\emptyset`; open ends in the French notation parentheses (`]2,5]` is `(2,5]`);
    inequalities in one variable joined by "or" the union of their intervals, two joined by "and" what they share.
    """
    text = _EMPTY.sub(r"\\emptyset ", text)
    # Read from the left, so that the `]` and `[` between two intervals belong to neither: `[1,2] \cup [3,4]`.
    if "[" in text or "]" in text:
        text = _SQUARE.sub(_interval, text)
    parts = split_outside(text, _OR)
    if len(parts) > 1 and (sets := _solutions(parts)):
        return r" \cup ".join(sets)
    parts = split_outside(text, _AND)
    if len(parts) == 2 and (sets := _solutions(parts)):
        return _between(*sets) or text
    return text


def _interval(match: re.Match[str]) -> str:
    left, low, high, right = match.groups()
    if left + right == "[]":
        return match[0]
    return f"{'[' if left == '[' else '('}{low},{high}{']' if right == ']' else ')'}"


def _solutions(parts: list[str]) -> list[str] | None:
    """Return the set of each relation, None where one is no relation or where they are not of one variable."""
    names, sets, unequal = set(), [], False
    for part in parts:
        if match := _TWO_SIDED.fullmatch(part):
            low, first, name, second, high = match.groups()
            if first not in _BELOW or second not in _BELOW:
                return None
            unequal = True
            sets.append(f"{'(' if first in _STRICT else '['}{low},{high}{')' if second in _STRICT else ']'}")
        elif match := _ONE_SIDED.fullmatch(part) or _OTHER_SIDED.fullmatch(part):
            name, sign, value = match.groups()
            if match.re is _OTHER_SIDED:
                name, sign, value = value, _FLIPPED.get(sign, sign), name
            unequal |= sign != "="
            sets.append(_half_line(sign, value))
        else:
            return None
        names.add(name)
    return sets if unequal and len(names) == 1 else None


def _between(first: str, second: str) -> str | None:
    """Return what two half lines in opposite directions share, None where they are anything else."""
    low, high = (first, second) if first.endswith(r"\infty)") else (second, first)
    from_low, to_high = low.removesuffix(r",\infty)"), high.removeprefix(r"(-\infty,")
    if from_low == low or to_high == high or "," in from_low + to_high:
        return None
    return f"{from_low},{to_high}"


def _half_line(sign: str, value: str) -> str:
    if sign == "=":
        return rf"\{{{value}\}}"
    if sign in (r"\ne", r"\neq"):
        return rf"(-\infty,{value}) \cup ({value},\infty)"
    if sign in _BELOW:
        return rf"(-\infty,{value}{')' if sign in _STRICT else ']'}"
    return rf"{'(' if sign in _STRICT else '['}{value},\infty)"
