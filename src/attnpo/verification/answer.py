"""What of an answer is compared, and what of a solution is the reference."""

from __future__ import annotations

import re

_BRACES = re.compile(r"\\(?:boxed|fbox|framebox)\s*\{|\\.|[{}]", re.DOTALL)
_BETWEEN_BOXES = re.compile(r"(?:[\s,;$]|\\[()\[\]]|and|or)*")


def boxed_answer(text: str) -> str | None:
    r"""Return the content of the last `\boxed{…}` (or `\fbox{…}`) in `text`, None where there is none that is closed.

    An empty box counts only where all are empty. Boxes that follow one another directly (`\boxed{1} and \boxed{2}`)
    are one answer in several parts, joined by commas, each different part once. Of nested boxes the outermost counts.
    Linear in the text's length.
    """
    boxes: list[tuple[int, int, slice]] = []
    open_at: list[tuple[int, int] | None] = []
    for match in _BRACES.finditer(text):
        token = match.group()
        if token == "{":
            open_at.append(None)
        elif token == "}":
            box = open_at.pop() if open_at else None
            if box is not None:
                while boxes and boxes[-1][0] > box[0]:
                    boxes.pop()
                boxes.append((box[0], match.end(), slice(box[1], match.start())))
        elif token.endswith("{") and len(token) > 2:
            open_at.append((match.start(), match.end()))
    if not boxes:
        return None
    boxes = [box for box in boxes if text[box[2]].strip()] or boxes[-1:]
    start, _, content = boxes[-1]
    parts = [content]
    for before_start, before_end, before in reversed(boxes[:-1]):
        if not _BETWEEN_BOXES.fullmatch(text, before_end, start):
            break
        parts.append(before)
        start = before_start
    return ", ".join(dict.fromkeys(text[part].strip() for part in reversed(parts)))


def reference_answer(solution: str) -> str:
    r"""Return the answer a solution gives: its last box, what follows its last `####` (GSM8K), or all of it."""
    boxed = boxed_answer(solution)
    return boxed if boxed is not None else solution.rpartition("####")[2].strip()
