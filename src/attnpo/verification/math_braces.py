"""Brackets of LaTeX: pairs that do nothing, and what stands outside of all pairs."""

from __future__ import annotations

import re

_TOKEN = re.compile(r"\\left\s*\\[{}]|\\right\s*\\[{}]|\\left\s*[(\[]|\\right\s*[)\]]|\\[{}]|\\.|[{}()\[\]]", re.DOTALL)
_GAP = re.compile(r"\s*")


def without_doubled(text: str) -> str:
    """Return the text with `{{x}}` as `{x}` and `((x))` as `(x)`: nested pairs take math-verify exponential time."""
    dropped: list[tuple[int, int]] = []
    open_at: list[tuple[str, int, int]] = []
    last: tuple[str, int, int] | None = None
    for match in _TOKEN.finditer(text):
        token = match.group()
        kind = token[-1] if not token.startswith("\\") or token.startswith(("\\left", "\\right")) else ""
        if kind in "({" and kind and "\\{" not in token:
            open_at.append((kind, match.start(), match.end()))
        elif kind in ")}" and kind and "\\}" not in token:
            if not open_at or open_at[-1][0] + kind not in ("()", "{}"):
                return text
            opener, start, inner = open_at.pop()
            # `last` is the pair that closed just before: it fills this one where only space lies between.
            if last and last[0] == opener and _fills(text, last, inner, match.start()):
                dropped += [(start, inner), match.span()]
            last = (opener, start, match.end())
    for start, end in sorted(dropped, reverse=True):
        text = text[:start] + text[end:]
    return text


def _fills(text: str, pair: tuple[str, int, int], start: int, end: int) -> bool:
    return _GAP.fullmatch(text, start, pair[1]) is not None and _GAP.fullmatch(text, pair[2], end) is not None


def split_outside(text: str, separator: re.Pattern[str]) -> list[str]:
    r"""Split the text at the matches of `separator` that lie outside of all brackets, escaped braces among them.

    The separator may itself be a command with braces (`\text{ and }`).
    """
    parts, depth, start, position = [], 0, 0, 0
    while position < len(text):
        if depth == 0 and (match := separator.match(text, position)) and match.end() > position:
            parts.append(text[start : match.start()])
            start = position = match.end()
        elif match := _TOKEN.match(text, position):
            last = match.group()[-1]
            depth += (last in "({[") - (last in ")}]")
            position = match.end()
        else:
            position += 1
    return [*parts, text[start:]]
