from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from attnpo.segmentation import OffsetDecoder, decode_with_offsets
from attnpo.segmentation.decode_bytes import decode_bytes, token_bytes
from attnpo.segmentation.decode_windows import decode_windows

SAMPLE = list("abBo has12.,\n é你😀🦜γ\u200d")
FIXTURE = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])


def reference_decode(tokenizer, ids: Sequence[int]) -> str:
    return tokenizer.decode(ids, skip_special_tokens=True, clean_up_tokenization_spaces=False)


def check_spans(text: str, spans: list[tuple[int, int]], n: int) -> None:
    assert len(spans) == n
    reached = 0
    assert [start for start, _ in spans] == sorted(start for start, _ in spans)
    for start, end in spans:
        assert 0 <= start <= end <= len(text)
        assert start <= reached, "no character lies between two tokens"
        reached = max(reached, end)
    assert reached == len(text)


@given(data=st.data())
@FIXTURE
def test_any_ids_decode_like_the_tokenizer(exact_tokenizer, data) -> None:
    # Beyond the vocabulary too: padded embeddings let a model sample ids that have no token.
    ids = data.draw(st.lists(st.integers(0, len(exact_tokenizer) + 2), max_size=40))
    text, spans = decode_with_offsets(exact_tokenizer, ids)
    assert text == reference_decode(exact_tokenizer, ids)
    check_spans(text, spans, len(ids))


@given(data=st.data())
@FIXTURE
def test_known_families_do_without_the_window(exact_tokenizer, data) -> None:
    ids = data.draw(st.lists(st.integers(0, len(exact_tokenizer) - 1), max_size=40))
    decoder = OffsetDecoder(exact_tokenizer)
    ids = [token_id for token_id in ids if token_id not in decoder.skipped_ids]
    assert decoder._decode_tokens is not None
    text, _ = decoder._decode_tokens(exact_tokenizer.convert_ids_to_tokens(ids))
    assert text == reference_decode(exact_tokenizer, ids)


def piece_bytes(token: str) -> bytes:
    if token.startswith("<0x"):
        return bytes([int(token[3:5], 16)])
    return token.replace("▁", " ").encode()


@given(data=st.data())
@FIXTURE
def test_spans_cut_the_utf8_bytes(exact_tokenizer, data) -> None:
    """Brute force over bytes: a token's span is the characters any of its bytes belong to."""
    text_in = data.draw(st.text(alphabet=st.sampled_from(SAMPLE), max_size=20) | st.text(max_size=20))
    ids = exact_tokenizer(text_in)["input_ids"]
    text, spans = decode_with_offsets(exact_tokenizer, ids)
    skipped = OffsetDecoder(exact_tokenizer).skipped_ids
    is_byte_level = type(exact_tokenizer.backend_tokenizer.decoder).__name__ == "ByteLevel"
    to_bytes = token_bytes if is_byte_level else piece_bytes
    pieces = [b"" if i in skipped else to_bytes(exact_tokenizer.convert_ids_to_tokens(i)) for i in ids]
    assert b"".join(pieces).lstrip(b" ") == text.encode().lstrip(b" ")
    # Spaces that the decoder leaves out at the text's start come before position 0.
    at = len(text.encode()) - sum(map(len, pieces))
    assert at == 0 or not is_byte_level
    owner = [number for number, character in enumerate(text) for _ in character.encode()]
    for piece, (start, end) in zip(pieces, spans, strict=True):
        first, last = max(at, 0), at + len(piece) - 1
        at += len(piece)
        if last < first:
            assert start == end == (owner[first] if first < len(owner) else len(text))
        else:
            assert (start, end) == (owner[first], owner[last] + 1)


@given(st.lists(st.binary(max_size=5), max_size=12))
def test_invalid_bytes_decode_like_python_and_rust(pieces) -> None:
    text, spans = decode_bytes(pieces)
    data = b"".join(pieces)
    assert text == data.decode("utf-8", errors="replace")
    check_spans(text, spans, len(pieces))


AWKWARD = st.lists(
    st.sampled_from([b"\xed", b"\xa0", b"\xf0", b"\x9f", b"\xe2\x82", b"\xac", b"A", "é".encode(), b"\xff"])
)


@given(st.one_of(AWKWARD, st.lists(st.binary(max_size=3), max_size=8)))
def test_a_piece_spans_the_characters_that_its_bytes_are_part_of(pieces) -> None:
    data = b"".join(pieces)
    # Character by character, as Python's decoder takes them.
    owner, at = [], 0
    while at < len(data):
        try:
            length = len(data[at:].decode("utf-8")[0].encode("utf-8"))
        except UnicodeDecodeError as error:
            length = len(data[at : at + error.start].decode("utf-8")[:1].encode("utf-8")) or error.end
        owner += [max(owner, default=-1) + 1] * length
        at += length
    _, spans = decode_bytes(pieces)
    place = 0
    for piece, span in zip(pieces, spans, strict=True):
        if piece:
            assert span == (owner[place], owner[place + len(piece) - 1] + 1)
        place += len(piece)


def test_a_lone_surrogate_half_is_two_replacements() -> None:
    assert decode_bytes([b"\xed\xa0", b"Wait"]) == ("\ufffd\ufffdWait", [(0, 2), (2, 6)])
    assert decode_bytes([b"\xed", b"\xa0", b"Wait"]) == ("\ufffd\ufffdWait", [(0, 1), (1, 2), (2, 6)])


def test_a_byte_that_breaks_a_character_begins_after_the_replacement() -> None:
    text, spans = decode_bytes([b"\xf0\x9f", b"a", b"\xf0\x9f", b"\x98\x80b"])
    assert text == "\ufffda😀b"
    assert spans == [(0, 1), (1, 2), (2, 3), (2, 4)]


def test_token_bytes_covers_the_alphabet() -> None:
    assert sorted(token_bytes(c) for c in pre_tokenizers.ByteLevel.alphabet()) == [bytes([b]) for b in range(256)]


def test_split_emoji_shares_its_character(bpe) -> None:
    ids = bpe("a🦜b")["input_ids"]
    _, spans = decode_with_offsets(bpe, ids)
    assert spans[0] == (0, 1)
    assert spans[-1] == (2, 3)
    assert len(spans) > 3
    assert set(spans[1:-1]) == {(1, 2)}


def test_special_tokens_are_empty_where_the_text_goes_on(bpe) -> None:
    a, b = bpe("a")["input_ids"][0], bpe("b")["input_ids"][0]
    text, spans = decode_with_offsets(bpe, [a, bpe.eos_token_id, b, bpe.eos_token_id, bpe.pad_token_id])
    assert text == "ab"
    assert spans == [(0, 1), (1, 1), (1, 2), (2, 2), (2, 2)]


def test_special_think_tags_stay_visible(llama) -> None:
    tags = [AddedToken(tag, special=True, normalized=False) for tag in ("[INST]", "</think>")]
    llama.add_special_tokens({"additional_special_tokens": tags})
    ids = [*llama("Bob")["input_ids"], *llama.convert_tokens_to_ids(["[INST]", "</think>"])]
    text, spans = decode_with_offsets(llama, ids)
    assert text == "Bob</think>"
    assert spans[-2:] == [(3, 3), (3, 11)]


@given(data=st.data())
@FIXTURE
def test_window_equals_the_exact_way(exact_tokenizer, data) -> None:
    text_in = data.draw(st.text(alphabet=st.sampled_from(SAMPLE), max_size=20))
    ids = exact_tokenizer(text_in)["input_ids"]
    exact = decode_with_offsets(exact_tokenizer, ids)
    text, spans = decode_windows(lambda part: reference_decode(exact_tokenizer, part), ids)
    assert text == exact[0]
    check_spans(text, spans, len(ids))
    assert [start for start, _ in spans] == [start for start, _ in exact[1]]


@given(data=st.data())
@FIXTURE
def test_unknown_decoder_goes_through_its_own_decode(bert, data) -> None:
    ids = data.draw(st.lists(st.integers(0, len(bert) - 1), max_size=40))
    decoder = OffsetDecoder(bert)
    assert decoder._decode_tokens is None
    text, spans = decoder(ids)
    assert text == reference_decode(bert, ids)
    check_spans(text, spans, len(ids))


def test_window_decoding_is_linear(bert) -> None:
    ids = bert("Bob has 12 apples. " * 300)["input_ids"]
    decoded = 0

    def decode(part: Sequence[int]) -> str:
        nonlocal decoded
        decoded += len(part)
        return reference_decode(bert, part)

    text, _ = decode_windows(decode, ids)
    assert text == reference_decode(bert, ids)
    assert decoded < 30 * len(ids)


@pytest.mark.parametrize("decoder", [None, decoders.Fuse(), decoders.Sequence([decoders.ByteFallback()])])
@given(ids=st.lists(st.integers(0, 6), max_size=12))
def test_plain_joins(decoder, ids) -> None:
    vocabulary = {token: n for n, token in enumerate(["Bob", " has", "<0xC3>", "<0xA9>", "é", "\n", "<think>"])}
    backend = Tokenizer(models.WordLevel(vocabulary, unk_token="Bob"))
    if decoder is not None:
        backend.decoder = decoder
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=backend)
    exact = OffsetDecoder(tokenizer)._decode_tokens
    assert exact is not None
    text, spans = exact(tokenizer.convert_ids_to_tokens(ids))
    assert text == reference_decode(tokenizer, ids)
    check_spans(text, spans, len(ids))


@pytest.mark.parametrize("ids", [[], [0]])
def test_shortest_inputs(exact_tokenizer, ids) -> None:
    text, spans = decode_with_offsets(exact_tokenizer, ids)
    assert text == reference_decode(exact_tokenizer, ids)
    assert len(spans) == len(ids)
