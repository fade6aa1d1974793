"""Offsets for any other tokenizer, through its own `decode` on a window of tokens."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence

from attnpo.rollouts import Span

_CONTEXT = 8
# More tokens than a character has bytes: whatever is still U+FFFD then is an invalid byte, not an unfinished character.
_PATIENCE = 8
_REPLACEMENT = "\ufffd"


def decode_windows(decode: Callable[[Sequence[int]], str], ids: Sequence[int]) -> tuple[str, list[Span]]:
    """Decode token by token within a short sliding window.

    Each token's text is what it adds to the decoding of the few tokens before it, so the cost is linear in the number
    of tokens. Tokens whose text ends in U+FFFD wait for the tokens that complete the character and share it. Exact for
    every tokenizer in which a token's text depends only on the eight tokens before it.

    Args:
        decode: the tokenizer's decoding of a list of ids.
        ids: the visible ids.
    """
    text: list[str] = []
    spans: list[Span] = []
    length = 0
    known = ""
    starts: list[int] = []
    # Where characters end, so that no window begins inside one.
    window, borders = 0, deque([0])
    for position in range(len(ids)):
        starts.append(length + max(0, len(_settled(decode(ids[window:position]))) - len(known)) if starts else length)
        now = decode(ids[window : position + 1])
        is_open = now.endswith(_REPLACEMENT) and len(starts) < _PATIENCE and position + 1 < len(ids)
        if is_open:
            continue
        added = now[len(known) :]
        text.append(added)
        length += len(added)
        # A token ends where the next one starts, or inside the character it shares with it.
        ends = [min(length, start + 1) for start in starts[1:]] + [length]
        spans.extend((min(start, length), max(start, end)) for start, end in zip(starts, ends, strict=True))
        borders.append(position + 1)
        while len(borders) > 1 and borders[1] <= position + 1 - _CONTEXT:
            borders.popleft()
        window = borders[0]
        known = decode(ids[window : position + 1])
        starts = []
    return "".join(text), spans


def _settled(text: str) -> str:
    """Return the text without the unfinished character at its end."""
    return text.rstrip(_REPLACEMENT)
