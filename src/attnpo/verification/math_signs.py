"""Signs outside ASCII, written as LaTeX: what a keyboard, a web page or another script puts into an answer."""

from __future__ import annotations

import re
import unicodedata

_SIGNS = {
    "−": "-",
    "–": "-",
    "∞": r"\infty",
    "≤": r"\le",
    "≦": r"\le",
    "≥": r"\ge",
    "≧": r"\ge",
    "≠": r"\ne",
    "×": r"\times",
    "÷": r"\div",
    "·": r"\cdot",
    "⋅": r"\cdot",
    "⁄": "/",
    "∕": "/",
    "∪": r"\cup",
    "∩": r"\cap",
    "∈": r"\in",
    "±": r"\pm",
    "∨": r"\lor",
    "∧": r"\land",
    "∅": r"\emptyset",
    "ℝ": r"\mathbb{R}",
    "ℤ": r"\mathbb{Z}",
    "ℕ": r"\mathbb{N}",
    "ℚ": r"\mathbb{Q}",
    "ℂ": r"\mathbb{C}",
    "°": r"^{\circ}",
    "…": r"\ldots",
    "⋯": r"\ldots",
    "。": ".",
    "、": ",",
    "∶": ":",
}
_RAISED = re.compile("[⁰¹²³⁴⁵⁶⁷⁸⁹⁺⁻⁽⁾ⁿⁱ]+")
_LOWERED = re.compile("[₀₁₂₃₄₅₆₇₈₉₊₋₍₎]+")
_OTHER = re.compile(r"[^\x00-\x7f]")
_GREEK = re.compile("GREEK (SMALL|CAPITAL) LETTER ([A-Z]+)")
# The capitals that LaTeX has no command for look like Latin ones, and `\omicron` is an o.
_GREEK_CAPITALS = {"GAMMA", "DELTA", "THETA", "LAMDA", "XI", "PI", "SIGMA", "UPSILON", "PHI", "PSI", "OMEGA"}


def latex_signs(text: str) -> str:
    r"""Return the text in ASCII as far as possible: `x²` is `x^{2}`, `½` is `\frac{1}{2}`, `４２` is `42`.

    Digits of every script become 0 to 9, compatibility forms (Unicode's NFKC) their plain ones.
    """
    if text.isascii():
        return text
    text = _RAISED.sub(lambda match: f"^{{{_plain(match[0])}}}", text)
    text = _LOWERED.sub(lambda match: f"_{{{_plain(match[0])}}}", text)
    return _OTHER.sub(lambda match: _apart(_sign(match[0]), text[match.end() : match.end() + 1]), text)


def _apart(command: str, following: str) -> str:
    """Return the command with a space where a letter after it would lengthen its name."""
    return command + (" " if command.startswith("\\") and command[-1].isalpha() and following.isalpha() else "")


def _plain(text: str) -> str:
    return unicodedata.normalize("NFKC", text).replace("−", "-")


def _sign(sign: str) -> str:
    if sign in _SIGNS:
        return _SIGNS[sign]
    if (digit := unicodedata.decimal(sign, None)) is not None:
        return str(digit)
    if match := _GREEK.fullmatch(unicodedata.name(sign, "")):
        name = match[2].replace("LAMDA", "LAMBDA")
        if match[1] == "SMALL" and name != "OMICRON":
            return rf"\{name.lower()}"
        return rf"\{name.capitalize()}" if match[2] in _GREEK_CAPITALS else sign
    plain = unicodedata.normalize("NFKC", sign)
    top, slash, bottom = plain.partition("⁄")
    if slash and bottom:
        return rf"\frac{{{top}}}{{{bottom}}}"
    return "".join(_SIGNS.get(part, part) for part in plain)
