from __future__ import annotations

from typing import Any

import pytest
from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

TAGS = [AddedToken("<think>", special=False, normalized=False), AddedToken("</think>", special=False, normalized=False)]
CORPUS = [
    "Okay, so Bob has 12 apples. Wait, let me double-check: 5 + 7 = 12. Yes.\n\n",
    "So the answer is 12. However, is it? Hmm, 你好世界，答案是十二。 Ünïcödé naïve café\n",
    "Emoji: 😀😀🤯👩‍👩‍👧 and maths: ∑ ∫ √2 ≤ π. ¿Qué? Привет мир, γειά σου κόσμε\n",
] * 20


def wrap(backend: Tokenizer) -> PreTrainedTokenizerFast:
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=backend, eos_token="<|end of text|>", pad_token="<pad>")
    tokenizer.add_tokens(TAGS)
    # Not special, with a space and with letters outside ASCII.
    tokenizer.add_tokens([AddedToken("tool call é", special=False, normalized=False)])
    return tokenizer


def byte_level() -> PreTrainedTokenizerFast:
    backend = Tokenizer(models.BPE())
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    backend.train_from_iterator(
        CORPUS, trainers.BpeTrainer(vocab_size=420, initial_alphabet=alphabet, show_progress=False)
    )
    return wrap(backend)


def word_level() -> PreTrainedTokenizerFast:
    words = [*["First", "So", "Wait", "Bob", "has", "9", "-", "2", "=", "7", ".", ",", "let", "me"], "<unk>"]
    vocabulary = {word: number for number, word in enumerate([*words, *("Ġ" + word for word in words), "Ċ", "ĠĊ"])}
    backend = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    backend.decoder = decoders.ByteLevel()
    return wrap(backend)


def byte_fallback(strip: int) -> PreTrainedTokenizerFast:
    characters = sorted(set("".join(CORPUS[:1]).replace(" ", "▁")) - {"\n"})
    pieces = ["<unk>", *(f"<0x{byte:02X}>" for byte in range(256)), *characters]
    vocabulary = {piece: number for number, piece in enumerate(dict.fromkeys(pieces))}
    merges = []
    for left, right in [("▁", "a"), ("a", "s"), ("h", "a"), ("▁", "▁"), ("1", "2"), ("▁▁", "▁▁")]:
        vocabulary[left + right] = len(vocabulary)
        merges.append((left, right))
    backend = Tokenizer(models.BPE(vocabulary, merges, unk_token="<unk>", byte_fallback=True, fuse_unk=True))
    backend.normalizer = normalizers.Sequence(
        ([normalizers.Prepend("▁")] if strip else []) + [normalizers.Replace(" ", "▁")]
    )
    chain: list[Any] = [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()]
    backend.decoder = decoders.Sequence(chain + ([decoders.Strip(" ", strip, 0)] if strip else []))
    return wrap(backend)


def metaspace(scheme: str) -> PreTrainedTokenizerFast:
    backend = Tokenizer(models.Unigram())
    backend.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme=scheme)
    backend.decoder = decoders.Metaspace(prepend_scheme=scheme)
    backend.train_from_iterator(
        CORPUS,
        trainers.UnigramTrainer(vocab_size=200, unk_token="<unk>", special_tokens=["<unk>"], show_progress=False),
    )
    return wrap(backend)


def word_piece() -> PreTrainedTokenizerFast:
    backend = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    backend.pre_tokenizer = pre_tokenizers.Whitespace()
    backend.decoder = decoders.WordPiece(cleanup=False)
    backend.train_from_iterator(
        CORPUS, trainers.WordPieceTrainer(vocab_size=260, special_tokens=["[UNK]"], show_progress=False)
    )
    return wrap(backend)


EXACT = {
    "byte-level BPE": byte_level,
    "WordLevel with ByteLevel decoder": word_level,
    "byte fallback, one space stripped (Llama 2)": lambda: byte_fallback(1),
    "byte fallback (Gemma)": lambda: byte_fallback(0),
    "Metaspace, always": lambda: metaspace("always"),
    "Metaspace, first": lambda: metaspace("first"),
    "Metaspace, never": lambda: metaspace("never"),
}


@pytest.fixture(scope="session", params=list(EXACT))
def exact_tokenizer(request: pytest.FixtureRequest) -> PreTrainedTokenizerFast:
    return EXACT[request.param]()


@pytest.fixture(scope="session")
def bpe() -> PreTrainedTokenizerFast:
    return byte_level()


@pytest.fixture(scope="session")
def llama() -> PreTrainedTokenizerFast:
    return byte_fallback(1)


@pytest.fixture(scope="session")
def bert() -> PreTrainedTokenizerFast:
    return word_piece()
