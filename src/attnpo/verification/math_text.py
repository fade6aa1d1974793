r"""Small repairs of an answer's LaTeX before math-verify reads it: what it stumbles over, and no change of value.

Every rule mends a rewriting that was measured to fail (`benchmarks/verification.py`).
"""

from __future__ import annotations

import re

from attnpo.verification.math_braces import without_doubled
from attnpo.verification.math_fractions import plain_fractions
from attnpo.verification.math_sets import plain_sets
from attnpo.verification.math_signs import latex_signs

# No answer is longer; some rules take quadratic time.
_LONGEST = 1000
_SIZE = re.compile(r"\\(?:displaystyle|textstyle|[bB]igg?[lrm]?(?![a-zA-Z]))\s*")
_EDGE_SPACE = re.compile(r"\A(?:\s|\\[ ,;:!]|\\q?quad\b)+|(?:\s|(?<!\\)\\[ ,;:!]|\\q?quad\b)+\Z")
_DOLLARS = re.compile(r"\A(?:\\\((.*)\\\)|\\\[(.*)\\\]|\$\$(.*)\$\$|(?<!\\)\$([^$]*)\$)\Z", re.DOTALL)
_FULL_STOP = re.compile(r"(?<!\.)\.\Z")
_ROOT_SIGN = re.compile(r"√\s*(?:(\d+|[a-zA-Z])|\(([^()]*)\)|(?=\{))")
_CIRCLE = re.compile(r"\^\s*(?:\\circ|\{\s*\\circ\s*\})")
_WRAPPED = re.compile(
    r"\A\\(?:text|mathrm|mathbf|textbf|mbox|boldsymbol)\s*\{\s*((?:\\?\$)?\s*[-+]?(?:[\d.,]|\\!\s*|\{,\})+)\s*\}\Z"
)
_BRACED_NUMBER = re.compile(
    r"\A(?:\\(?:mathbf|boldsymbol)\s*)?\{\s*([-+]?(?:[\d.]+|\\[dtc]?frac\s*\{[^{}]*\}\s*\{[^{}]*\}))\s*\}\Z"
)
_PERCENT = re.compile(r"(?:\s|\\[ ,;])*(?:\\?%|\\(?:text|mbox|mathrm)\s*\{\s*(?:\\?%|percent)\s*\}|\bpercent)\Z")
_MEMBER = re.compile(r"\A[a-zA-Z]\s*\\in(?![a-zA-Z])\s*(?=[(\[{]|\\left|\\\{)")
_GROUP_MARK = r"(?:,(?:\\!\s*)?|\{,\}|\\[, ]| )"
_GROUPED = re.compile(
    rf"\A((?:[a-zA-Z]\s*=\s*|\\text\s*\{{[^{{}}]*\}}\s*=\s*)?(?:\\?\$)?\s*[-+]?)(\d{{1,3}}(?:{_GROUP_MARK}\d{{3}})+)(?!\d)"
    r"(?!\s*[,;]|\\!)"
)
_ANY_MARK = re.compile(_GROUP_MARK)
_SCIENTIFIC = re.compile(
    r"\A([-+]?)(\d*\.?\d+)(?:[eE]|\s*(?:\\times|\\cdot|\*)\s*10\s*\^\s*\{?\s*)"
    r"([-+]?\d{1,2})\s*\}?(?=(?:\s|\\[ ,;])*(?:\\(?:text|mbox|mathrm)(?![a-zA-Z])|\Z))",
    re.ASCII,
)
_ROMAN = re.compile(
    r"([a-zA-Z]?)(?:\\(?:mathrm|text|textrm|mathit|operatorname)\s*\{\s*([ei])\s*\}|\{\s*\\rm\s+([ei])\s*\})"
)
_FUNCTION = re.compile(
    r"\\(?:mathrm|text|textrm|operatorname)\s*\{\s*((?:arc)?(?:sin|cos|tan)|(?:sin|cos|tan)h|cot|csc|ln|log|exp|gcd)\s*\}"
)
_MONEY = r"(?:[€£¥₹₽₩₪₺₫฿]|\\(?:euro|pounds|yen|EUR)(?![a-zA-Z]))"
_CURRENCY = re.compile(
    rf"\\(?:text|mathrm)\s*\{{\s*{_MONEY}\s*\}}|{_MONEY}|(?:\\text\s*\{{\s*US\s*\}}|\bUS)(?=\s*\\?\$)"
)
_CELSIUS = re.compile(r"(\^\{\\circ\})\s*(?:[CF]|\\(?:text|mathrm|mbox)\s*\{\s*[CF]\s*\})\Z")
_DOLLARS_WORD = re.compile(r"(?:(?<=[\d}])|(?<=illion)|(?<=thousand))(?:\s|\\[ ,;])*dollars?\Z")
_UNIT_POWER = re.compile(
    r"(?<=[\d)}])(?:\s|\\[ ,;])*(?:mm|cm|dm|km|m|in|inch(?:es)?|ft|feet|yd|yards?|miles?|meters?|metres?|units?)"
    r"\s*\^\s*(?:[23]|\{[23]\})\Z"
)


def tidy(text: str, grouped: bool = True) -> str:
    r"""Return the content of a box with the same value in a form that math-verify reads.

    Outer dollars, sizing commands, signs of currencies and a full stop go; signs outside ASCII become LaTeX
    (`math_signs`), doubled braces single, sets one notation (`math_sets`), roman `\mathrm{i}` and `\mathrm{e}` the
    letters; `10 080`, `10\,080` and `10{,}080` become `10080`, `2.6e4` and `2.6 \times 10^{4}` become `26000`, mixed
    numbers and repeating decimals fractions (`math_fractions`); a number in `\text{…}` comes out of it; `x \in` before
    an interval or a set goes; a percent sign in any form becomes `\%`. A text of more than 1,000 characters comes back
    as it is.

    Args:
        text: the content of a box.
        grouped: whether `100,200` may be one number; False leaves the comma, for a comparison with a list.
    """
    if len(text) > _LONGEST:
        return text
    text = latex_signs(_CURRENCY.sub("", text.replace("~", " ")))
    text = without_doubled(_SIZE.sub("", text))
    text = _bare(text)
    text = plain_sets(_roman(text))
    text = _ROOT_SIGN.sub(_root, text)
    text = _CELSIUS.sub(r"\1", _CIRCLE.sub(r"^{\\circ}", text))
    text = _BRACED_NUMBER.sub(r"\1", _WRAPPED.sub(r"\1", text))
    text = _DOLLARS_WORD.sub("", text)
    text = _PERCENT.sub(r"\\%", text)
    text = _MEMBER.sub("", text)
    if grouped and (match := _GROUPED.match(text)):
        text = match[1] + _ANY_MARK.sub("", match[2]) + text[match.end() :]
    if match := _SCIENTIFIC.match(text):
        text = match[1] + _shift_point(match[2], int(match[3])) + text[match.end() :]
    return plain_fractions(text)


def tidy_sentence(text: str) -> str:
    """Return a text that an answer is to be found in, with those repairs of `tidy` that need no whole answer."""
    return plain_fractions(_roman(latex_signs(text))) if len(text) <= _LONGEST else text


def without_unit_power(text: str) -> str:
    """Return the text without a plainly written unit of area or volume at its end (`15 cm^2`)."""
    return _UNIT_POWER.sub("", text)


def _roman(text: str) -> str:
    text = _ROMAN.sub(lambda match: (f"{match[1]} " if match[1] else "") + (match[2] or match[3]), text)
    return _FUNCTION.sub(r"\\\1 ", text)


def _bare(text: str) -> str:
    while True:
        stripped = _FULL_STOP.sub("", _EDGE_SPACE.sub("", text))
        if match := _DOLLARS.match(stripped):
            stripped = next(group for group in match.groups() if group is not None)
        if stripped == text:
            return text
        text = stripped


def _root(match: re.Match[str]) -> str:
    inside = match[1] if match[1] is not None else match[2]
    return r"\sqrt" if inside is None else rf"\sqrt{{{inside}}}"


def _shift_point(digits: str, places: int) -> str:
    """Move the decimal point of `digits` to the right by `places` (to the left where negative)."""
    whole, _, part = digits.partition(".")
    if places >= 0:
        part = part.ljust(places, "0")
        whole, part = whole + part[:places], part[places:]
    else:
        whole = whole.rjust(-places + 1, "0")
        whole, part = whole[:places], whole[places:] + part
    whole = whole.lstrip("0") or "0"
    return f"{whole}.{part}" if part.strip("0") else whole
