r"""Numbers whose notation math-verify reads as a product or not at all: mixed numbers and repeating decimals."""

from __future__ import annotations

import re
from fractions import Fraction

_SPACE = r"(?:\s|~|\\[ ,;:!]|\{\})"
# What stands before must not make the digits part of something else: an exponent, an index, a decimal, a name.
_MIXED = re.compile(
    rf"(?<![\w.^_}}/])(?<![\^_]\s)(?<!\d,)(\d{{1,30}})(?:"
    rf"{_SPACE}*\{{?\\[dtc]?frac\s*(?:\{{\s*(\d{{1,30}})\s*\}}|(\d))\s*(?:\{{\s*(\d{{1,30}})\s*\}}|(\d))"
    rf"|{_SPACE}+(\d{{1,30}})\s*/\s*(\d{{1,30}})(?![\d/.]))",
    re.ASCII,
)
_DOTS = r"\s*(?:\\[lc]?dots(?![a-zA-Z])|\.\.\.)"
_REPEATING = re.compile(
    r"(?<![\d.])(\d{0,20})\.(?:"
    r"(\d{0,20})(?:\\(?:overline|bar)\s*(?:\{\s*(\d{1,20})\s*\}|(\d))|\((\d{1,20})\))"
    r"|(\d{0,20})\\dot\s*\{?(\d)\}?(?:(\d{0,20})\\dot\s*\{?(\d)\}?)?"
    rf"|(\d{{0,20}}?)(\d{{1,6}}?)\11{{2,}}{_DOTS})",
    re.ASCII,
)
_DOTTED_DECIMAL = re.compile(rf"(\d*\.\d+){_DOTS}\s*\Z", re.ASCII)


def plain_fractions(text: str) -> str:
    r"""Return the text with mixed numbers and repeating decimals as one fraction each.

    `137 1/2`, `137\frac{1}{2}` and `137 \tfrac12` become `\frac{275}{2}` (the fraction must be proper, else it is a
    product); `0.1\overline{6}`, `0.1\dot{6}`, `0.1(6)` and `0.1666\ldots` become `\frac{1}{6}`. Other dots behind a
    decimal at the text's end go: it is rounded.
    """
    return _DOTTED_DECIMAL.sub(r"\1", _REPEATING.sub(_repeated, _MIXED.sub(_improper, text)))


def _latex(value: Fraction) -> str:
    return rf"\frac{{{value.numerator}}}{{{value.denominator}}}"


def _improper(match: re.Match[str]) -> str:
    whole, top, bottom = (
        int(digits) for digits in (match[1], match[2] or match[3] or match[6], match[4] or match[5] or match[7])
    )
    if not 0 < top < bottom or not whole:
        return match[0]
    opened = "{" if re.search(r"\{\\[dtc]?frac", match[0]) else ""
    return opened + _latex(whole + Fraction(top, bottom))


def _repeated(match: re.Match[str]) -> str:
    if match[7] is not None:
        before, period = match[6], match[7] + (match[8] or "") + (match[9] or "")
    else:
        before = match[2] if match[2] is not None else match[10]
        period = match[3] or match[4] or match[5] or match[11]
    start = Fraction(int(match[1] + before or "0"), 10 ** len(before))
    return _latex(start + Fraction(int(period), (10 ** len(period) - 1) * 10 ** len(before)))
