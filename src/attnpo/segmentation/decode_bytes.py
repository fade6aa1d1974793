"""Offsets for byte-level BPE: tokens are bytes, and a character's bytes may be spread over tokens."""

from __future__ import annotations

import codecs
from collections.abc import Iterable, Sequence
from functools import lru_cache
from itertools import accumulate

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
    try:
        text = b"".join(pieces).decode("utf-8")
    except UnicodeDecodeError:
        return _decode_invalid(pieces)
    return text, _spans_of_valid(pieces, text)


def _spans_of_valid(pieces: Sequence[bytes], text: str) -> list[Span]:
    ends = list(accumulate(map(len, pieces)))
    starts = [0, *ends[:-1]]
    if text.isascii():
        return list(zip(starts, ends, strict=True)) if pieces else []
    bytes_of_text = np.frombuffer(b"".join(pieces), dtype=np.uint8)
    # Number of characters that begin up to and including each byte; nothing follows the last one.
    begun = np.append(np.cumsum((bytes_of_text & 0xC0) != 0x80), len(text) + 1)
    first = begun[np.array(starts)] - 1
    last = np.maximum(first, begun[np.maximum(np.array(ends) - 1, 0)])
    last = np.where(np.array(starts) == np.array(ends), first, last)
    return list(zip(first.tolist(), last.tolist(), strict=True))


def _decode_invalid(pieces: Sequence[bytes]) -> tuple[str, list[Span]]:
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
