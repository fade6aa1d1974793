"""Answers in several parts: lists, sets in braces, sequences with dots."""

from __future__ import annotations

import re

from attnpo.verification.math_braces import split_outside

_SEPARATOR = re.compile(
    r"\s*[,;]?\s*(?:\\(?:text|mbox|textrm|mathrm)\s*\{\s*(?:and|or)\s*\}|(?<![a-zA-Z\\])(?:and|or)(?![a-zA-Z]))\s*|\s*[,;]\s*"
)
_SPACING = re.compile(r"\\(?:[ !,;:]|q?quad(?![a-zA-Z]))")
_BRACES = re.compile(r"(?:\\left\s*)?\\\{(.*?)(?:\\right\s*)?\\\}", re.DOTALL)
_DOTS = re.compile(r"\\(?:[lc]?dots|dots[bc])(?![a-zA-Z])|\.\.\.")
_PLUS_MINUS = re.compile(r"(.*?)\\pm(?![a-zA-Z])(.*)", re.DOTALL)
DOTS = r"\ldots"


def in_braces(text: str) -> str | None:
    r"""Return what stands between the braces of `\{…\}`, None where the text is anything else."""
    match = _BRACES.fullmatch(text)
    return match[1] if match and r"\{" not in match[1] and r"\}" not in match[1] else None


def members(text: str) -> list[str] | None:
    r"""Return the members of a list (`1, 2 \text{ and } 3`) or of a set in braces, None where the text is neither.

    Separators inside of brackets do not count; `a \pm b` are two members; dots are the member `\ldots`.
    """
    inside = in_braces(text)
    if r"\begin" in text:
        return None
    # In `1,\ 2` the command for a space is no part of the number.
    parts = [_SPACING.sub(" ", part).strip() for part in split_outside(text if inside is None else inside, _SEPARATOR)]
    parts = [part for part in parts if part]
    if inside is None and len(parts) < 2:
        return None
    return [sign for part in parts for sign in _both_signs(DOTS if _DOTS.fullmatch(part) else part)]


def has_dots(text: str) -> bool:
    """Return whether the text leaves something out."""
    return _DOTS.search(text) is not None


def spelled(text: str) -> str:
    """Return an expression with dots as it is compared: spaces and kinds of dots do not count."""
    return "".join(_DOTS.sub(lambda _: DOTS, _SPACING.sub("", text)).split())


def _both_signs(part: str) -> list[str]:
    match = _PLUS_MINUS.fullmatch(part)
    if not match or r"\pm" in match[2] or r"\mp" in part:
        return [part]
    return [f"{match[1]}+{match[2]}" if match[1].strip() else match[2].strip(), f"{match[1]}-{match[2]}"]
