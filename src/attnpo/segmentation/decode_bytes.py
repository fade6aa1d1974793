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
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError:
        return decode_stepwise(pieces)
    ends = list(accumulate(map(len, pieces), initial=0))
    if text.isascii():
        return text, list(pairwise(ends))
    # Number of characters begun up to and including each byte; the one after the last byte closes the text.
    begun_at = np.append(np.cumsum((np.frombuffer(data, np.uint8) & 0xC0) != 0x80), len(text) + 1)
    borders = np.array(ends)
    starts, stops = borders[:-1], borders[1:]
    first = begun_at[starts] - 1
    last = np.where(starts == stops, first, begun_at[stops - 1])
    return text, list(zip(first.tolist(), last.tolist(), strict=True))


def decode_stepwise(pieces: Iterable[bytes]) -> tuple[str, list[Span]]:
    """Do the work of `decode_bytes` piece by piece: slower, and right for invalid bytes too."""
    decoder = codecs.getincrementaldecoder("utf-8")("replace")
    text: list[str] = []
    spans: list[Span] = []
    length = 0
    pending = b""
    for piece in pieces:
        start = length + (1 if pending and piece and not _continues(pending, piece[:1]) else 0)
        emitted = decoder.decode(piece)
        text.append(emitted)
        length += len(emitted)
        pending = decoder.getstate()[0]
        spans.append((start, length + 1 if pending and piece else max(start, length)))
    text.append(decoder.decode(b"", final=True))
    return "".join(text), spans


def _continues(pending: bytes, byte: bytes) -> bool:
    """Return whether `byte` goes on with the incomplete character `pending`; if not, that becomes one U+FFFD."""
    return not codecs.getincrementaldecoder("utf-8")("replace").decode(pending + byte).startswith("\ufffd")
