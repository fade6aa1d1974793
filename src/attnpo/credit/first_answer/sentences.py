"""Sentences of a think part, as spans of characters."""

from __future__ import annotations

import re
from itertools import pairwise

from attnpo.rollouts import Span

# A stop ends a sentence where white space or the end follows, closing marks aside: 3.5 goes on.
_END = re.compile(r"[.!?]+[\"'”’)\]*_$]*(?=\s|\Z)|[\r\n]+")


def sentences(text: str, part: Span) -> list[Span]:
    """Return the spans of the sentences in a part of a text: in order, none empty, without white space around.

    A sentence ends behind `.`, `!` or `?` before white space, and at a line break.
    """
    start, end = part
    borders = [start, *(start + match.end() for match in _END.finditer(text[start:end])), end]
    spans = []
    for left, right in pairwise(borders):
        content = text[left:right]
        if content.strip():
            spans.append((left + len(content) - len(content.lstrip()), left + len(content.rstrip())))
    return spans
