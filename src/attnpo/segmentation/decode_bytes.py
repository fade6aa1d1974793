"""Offsets for byte-level BPE: tokens are bytes, and a character's bytes may be spread over tokens."""

from __future__ import annotations

import codecs
from collections.abc import Iterable
from functools import lru_cache
from itertools import accumulate, pairwise

import numpy as np

from attnpo.rollouts import Span


def _byte_of_character() -> dict[str, int]:
    """Return the GPT-2 alphabet of byte-level tokenizers: printable bytes stand for themselves, others for U+0100…"""
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [byte for byte in range(256) if byte not in set(printable)]
    return {chr(byte): byte for byte in printable} | {chr(256 + n): byte for n, byte in enumerate(others)}


_BYTE_OF = _byte_of_character()

_MARK = "attnpo.mark"
_MARKS, _LONGEST = 0xDC00, 4
_REPLACED = {_MARKS + length: "\ufffd" for length in range(1, _LONGEST + 1)}


def _mark(error: UnicodeError) -> tuple[str, int]:
    assert isinstance(error, UnicodeDecodeError)
    return chr(_MARKS + error.end - error.start), error.end


codecs.register_error(_MARK, _mark)


@lru_cache(maxsize=1 << 19)
def token_bytes(token: str) -> bytes:
    """Return the bytes a token of a byte-level vocabulary stands for; a token outside the alphabet is its own UTF-8."""
    try:
        return bytes([_BYTE_OF[character] for character in token])
    except KeyError:
        return token.encode("utf-8")


def decode_bytes(pieces: Iterable[bytes]) -> tuple[str, list[Span]]:
    """Decode byte pieces as one UTF-8 text and return the span of characters each piece has bytes of.

    Invalid bytes become U+FFFD, one for each maximal invalid sequence, as `bytes.decode(errors="replace")` and Rust's
    `from_utf8_lossy` do. Pieces that share a character both have it in their span. Linear in the number of bytes.
    """
    pieces = list(pieces)
    data = b"".join(pieces)
    # Each invalid sequence decodes to one lone surrogate, which valid UTF-8 never holds, that says how long it is.
    marked = data.decode("utf-8", errors=_MARK)
    ends = list(accumulate(map(len, pieces), initial=0))
    if len(marked) == len(data) and marked.isascii():
        return marked, list(pairwise(ends))
    codes = np.frombuffer(marked.encode("utf-32-le", "surrogatepass"), np.uint32)
    valid_lengths = 1 + (codes >= 0x80) + (codes >= 0x800) + (codes >= 0x10000)
    is_mark = (codes > _MARKS) & (codes <= _MARKS + _LONGEST)
    begin_at = np.append(0, np.cumsum(np.where(is_mark, codes - _MARKS, valid_lengths)))
    borders = np.array(ends)
    starts, stops = borders[:-1], borders[1:]
    # The character that holds a byte is the last one that begins at or before it.
    first = np.searchsorted(begin_at, starts, side="right") - 1
    last = np.where(starts == stops, first, np.searchsorted(begin_at, stops - 1, side="right"))
    text = marked.translate(_REPLACED) if is_mark.any() else marked
    return text, list(zip(first.tolist(), last.tolist(), strict=True))
