"""Decoding of sampled token ids into text together with the characters each id stands for."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Any

from attnpo.markers import markers_of
from attnpo.rollouts import Span
from attnpo.segmentation.decode_bytes import decode_bytes, token_bytes
from attnpo.segmentation.decode_pieces import decode_fallback, decode_metaspace, join
from attnpo.segmentation.decode_windows import decode_windows

TokenDecoder = Callable[[Sequence[str]], tuple[str, list[Span]]]


class OffsetDecoder:
    """Decodes ids of one tokenizer with offsets; see `decode_with_offsets`.

    Attributes:
        skipped_ids: ids of the special tokens, which leave no text (those that markers are made of do).
    """

    def __init__(self, tokenizer: Any):
        """Look at how the tokenizer decodes.

        Args:
            tokenizer: Hugging Face tokenizer.
        """
        self._tokenizer = tokenizer
        self.skipped_ids = _skipped_ids(tokenizer)
        self._decode_tokens = _token_decoder(tokenizer)
        self._token_of: dict[int, str | None] = {}
        self._markers = markers_of(tokenizer)

    def __call__(self, ids: Sequence[int]) -> tuple[str, list[Span]]:
        """Return the text of `ids` and the span of characters of each id."""
        return self._markers.read_spans(*self._written(ids))

    def _written(self, ids: Sequence[int]) -> tuple[str, list[Span]]:
        """The text as the model wrote it, its own markers in it."""
        visible = [token_id for each in ids if (token_id := int(each)) not in self.skipped_ids]
        text, spans = self._decode_visible(visible)
        if len(visible) == len(ids):
            return text, spans
        offsets: list[Span] = []
        remaining = iter([*spans, (len(text), len(text))])
        upcoming = next(remaining)
        for token_id in ids:
            if int(token_id) in self.skipped_ids:
                offsets.append((upcoming[0], upcoming[0]))
            else:
                offsets.append(upcoming)
                upcoming = next(remaining)
        return text, offsets

    def _decode_visible(self, ids: list[int]) -> tuple[str, list[Span]]:
        if self._decode_tokens is not None:
            # Ids beyond the vocabulary (padded embeddings) have no token; `decode` leaves them out too.
            tokens = self._tokens(ids)
            text, spans = self._decode_tokens([token for token in tokens if token is not None])
            # The tokenizer has the last word: where it decodes otherwise, its own `decode` gives the offsets too.
            if text == self._plain_decode(ids):
                return text, spans if len(spans) == len(ids) else _refill(spans, tokens, len(text))
        return decode_windows(self._plain_decode, ids)

    def _tokens(self, ids: list[int]) -> list[str | None]:
        new = [token_id for token_id in set(ids) if token_id not in self._token_of]
        self._token_of.update(zip(new, self._tokenizer.convert_ids_to_tokens(new), strict=True))
        return [self._token_of[token_id] for token_id in ids]

    def _plain_decode(self, ids: Sequence[int]) -> str:
        return self._tokenizer.decode(ids, skip_special_tokens=False, clean_up_tokenization_spaces=False)


def decode_with_offsets(tokenizer: Any, ids: Sequence[int]) -> tuple[str, list[Span]]:
    """Decode sampled ids into text and the half-open span of characters each id stands for.

    The text equals `tokenizer.decode(ids, skip_special_tokens=True, clean_up_tokenization_spaces=False)`, except that
    `<think>` and `</think>` stay visible where a tokenizer counts them as special, and stand for other markers of the
    model (`attnpo.markers`). Nothing is tokenized again: the
    spans are of exactly these ids. Starts never decrease. Ids that share a character (its bytes spread over several
    tokens) all have it in their span; special tokens have an empty span where the text goes on after them.

    Exact for byte-level BPE, Metaspace and SentencePiece-style decoders with byte fallback; other tokenizers go through
    their own `decode` on a sliding window. Linear in the number of ids.

    Args:
        tokenizer: Hugging Face tokenizer the ids were sampled with.
        ids: the sampled ids.
    """
    return OffsetDecoder(tokenizer)(ids)


def _skipped_ids(tokenizer: Any) -> frozenset[int]:
    added = tokenizer.added_tokens_decoder
    special = {int(token_id) for token_id, token in added.items() if token.special} | set(tokenizer.all_special_ids)
    token_of = {i: tokenizer.convert_ids_to_tokens(i) for i in special}
    marks = markers_of(tokenizer).tokens(token_of.values())
    return frozenset(i for i, token in token_of.items() if token not in marks)


def _token_decoder(tokenizer: Any) -> TokenDecoder | None:
    """Return how the tokenizer joins tokens, None where it is of no known kind."""
    backend = getattr(tokenizer, "backend_tokenizer", None)
    if backend is None:
        return None
    if backend.decoder is None:
        # Tokens are then joined by spaces, each the first character of the token after it.
        return lambda tokens: join([token if number == 0 else f" {token}" for number, token in enumerate(tokens)])
    spec = json.loads(backend.decoder.__getstate__())
    chain = spec["decoders"] if spec["type"] == "Sequence" else [spec]
    kinds = [each["type"] for each in chain]
    if kinds == ["ByteLevel"]:
        return lambda tokens: decode_bytes(map(token_bytes, tokens))
    if kinds == ["Metaspace"]:
        replacement, drops_first = chain[0]["replacement"], chain[0]["prepend_scheme"] != "never"
        return lambda tokens: decode_metaspace(tokens, replacement, drops_first)
    return _fallback_decoder(chain)


def _fallback_decoder(chain: list[dict[str, Any]]) -> TokenDecoder | None:
    """Return the decoder of a chain Replace, ByteFallback, Fuse, Strip, any of them absent; None for other chains."""
    by_kind = {each["type"]: each for each in chain}
    order = [kind for kind in ("Replace", "ByteFallback", "Fuse", "Strip") if kind in by_kind]
    replace, strip = by_kind.get("Replace"), by_kind.get("Strip")
    if not chain or [each["type"] for each in chain] != order:
        return None
    if replace is not None and (replace["content"] != " " or "String" not in replace["pattern"]):
        return None
    if strip is not None and (strip["stop"] != 0 or "Fuse" not in by_kind):
        return None
    replacement = replace["pattern"]["String"] if replace is not None else None
    has_bytes = "ByteFallback" in by_kind
    stripped = (strip["content"], strip["start"]) if strip is not None else ("", 0)
    return lambda tokens: decode_fallback(tokens, replacement, has_bytes, stripped)


def _refill(spans: list[Span], tokens: Sequence[str | None], end: int) -> list[Span]:
    """Give ids without a token an empty span where the text goes on after them."""
    refilled: list[Span] = []
    following = end
    for token in reversed(tokens):
        span = spans.pop() if token is not None else (following, following)
        following = span[0]
        refilled.append(span)
    return refilled[::-1]
