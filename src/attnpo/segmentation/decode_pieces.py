"""Offsets for SentencePiece-style tokenizers: `▁` for a space, and `<0x..>` tokens for bytes outside the vocabulary."""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import groupby

from attnpo.rollouts import Span
from attnpo.segmentation.decode_bytes import decode_bytes

_BYTE_TOKEN = re.compile(r"<0x([0-9A-Fa-f]{2})>")


def decode_metaspace(tokens: Sequence[str], replacement: str, drops_first: bool) -> tuple[str, list[Span]]:
    """Join tokens whose `replacement` character stands for a space.

    Args:
        tokens: the visible tokens.
        replacement: the character, `▁` as a rule.
        drops_first: whether those of the very first token are left out instead of becoming spaces.
    """
    texts = [
        token.replace(replacement, "" if drops_first and number == 0 else " ") for number, token in enumerate(tokens)
    ]
    return join(texts)


def decode_fallback(
    tokens: Sequence[str], replacement: str | None, byte_fallback: bool, strip: tuple[str, int]
) -> tuple[str, list[Span]]:
    """Join tokens as the decoder chain Replace → ByteFallback → Fuse → Strip of Llama and Gemma does.

    A run of byte tokens that is valid UTF-8 becomes its characters, shared ones in the span of every token with
    bytes of them; any other run becomes one U+FFFD a token.

    Args:
        tokens: the visible tokens.
        replacement: the character that stands for a space, None for none.
        byte_fallback: whether tokens such as `<0xE4>` are bytes.
        strip: (character, number): at most that many of the character are taken off the text's start.
    """
    texts: list[str] = []
    spans: list[Span] = []
    length = 0
    if replacement is not None:
        tokens = [token.replace(replacement, " ") for token in tokens]
    for is_bytes, group in groupby(tokens, key=lambda token: byte_fallback and _byte(token) is not None):
        run = list(group)
        text, run_spans = _decode_byte_run(run) if is_bytes else join(run)
        texts.append(text)
        spans.extend((length + start, length + end) for start, end in run_spans)
        length += len(text)
    return _strip_start("".join(texts), spans, *strip)


def join(texts: Sequence[str]) -> tuple[str, list[Span]]:
    """Concatenate the texts and return the span of each."""
    spans = []
    length = 0
    for text in texts:
        spans.append((length, length + len(text)))
        length += len(text)
    return "".join(texts), spans


def _byte(token: str) -> int | None:
    match = _BYTE_TOKEN.fullmatch(token) if token.startswith("<0x") else None
    return int(match.group(1), 16) if match else None


def _decode_byte_run(tokens: list[str]) -> tuple[str, list[Span]]:
    pieces = [bytes([byte]) for token in tokens if (byte := _byte(token)) is not None]
    try:
        b"".join(pieces).decode("utf-8")
    except UnicodeDecodeError:
        return join(["\ufffd"] * len(pieces))
    return decode_bytes(pieces)


def _strip_start(text: str, spans: list[Span], character: str, at_most: int) -> tuple[str, list[Span]]:
    stripped = 0
    while stripped < at_most and text[stripped : stripped + 1] == character:
        stripped += 1
    return text[stripped:], [(max(0, start - stripped), max(0, end - stripped)) for start, end in spans]
