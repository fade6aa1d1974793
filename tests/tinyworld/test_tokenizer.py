from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import PreTrainedTokenizerFast

from attnpo.tinyworld import generate_problems, reference_trace
from attnpo.tinyworld.tokenizer import build_tokenizer

MESSAGES = [{"role": "user", "content": "Leo has 9 coins. How many coins does Leo have?"}]


@pytest.fixture(scope="module")
def tokenizer() -> PreTrainedTokenizerFast:
    return build_tokenizer()


@given(st.integers(0, 2**32), st.sampled_from([1, 3, 5, 8]))
@settings(max_examples=60, deadline=None)
def test_world_text_makes_the_round_trip(seed: int, difficulty: int) -> None:
    tokenizer = build_tokenizer()
    problem = generate_problems("train", 1, seed, (difficulty,))[0]
    for text in (problem.question, reference_trace(problem, seed)):
        ids = tokenizer(text)["input_ids"]
        assert tokenizer.decode(ids) == text
        assert tokenizer.decode(ids, skip_special_tokens=True) == text
        assert max(len(token) for token in tokenizer.convert_ids_to_tokens(ids)) > 1


@given(st.text(alphabet=st.characters(exclude_categories=("Cs",)), max_size=60))
@settings(max_examples=100, deadline=None)
def test_any_text_makes_the_round_trip(text: str) -> None:
    tokenizer, text = build_tokenizer(), unicodedata.normalize("NFC", text)
    assert tokenizer.decode(tokenizer(text)["input_ids"]) == text


def test_world_words_are_single_tokens(tokenizer: PreTrainedTokenizerFast) -> None:
    tokens = tokenizer.convert_ids_to_tokens(tokenizer("Hmm, Bob has 12-3=9.\n\nWait")["input_ids"])
    assert tokens == ["Hmm", ",", "ĠBob", "Ġhas", "Ġ", "1", "2", "-", "3", "=", "9", ".", "ĊĊ", "Wait"]
    final = tokenizer.convert_ids_to_tokens(tokenizer("answer: \\boxed{12}.")["input_ids"])
    assert final[-7:] == ["Ġ", "\\", "boxed", "{", "1", "2", "}", "."][-7:]


def test_offsets_tile_the_text(tokenizer: PreTrainedTokenizerFast) -> None:
    problem = generate_problems("train", 1, seed=6)[0]
    text = reference_trace(problem)
    offsets = tokenizer(text, return_offsets_mapping=True)["offset_mapping"]
    assert "".join(text[a:b] for a, b in offsets) == text


def test_template_opens_the_think_part(tokenizer: PreTrainedTokenizerFast) -> None:
    text = tokenizer.apply_chat_template(MESSAGES, add_generation_prompt=True, tokenize=False)
    assert text == "<|begin_of_sentence|><|user|>" + MESSAGES[0]["content"] + "<|assistant|><think>\n"
    ids = tokenizer(text, add_special_tokens=False)["input_ids"]
    assert ids[0] == tokenizer.bos_token_id
    assert tokenizer.convert_ids_to_tokens(ids[-2:]) == ["<think>", "Ċ"]


def test_only_control_tokens_are_skipped(tokenizer: PreTrainedTokenizerFast) -> None:
    text = "So.\n</think>\n\nBob"
    ids = [tokenizer.bos_token_id, *tokenizer(text)["input_ids"], tokenizer.eos_token_id, tokenizer.pad_token_id]
    assert tokenizer.decode(ids, skip_special_tokens=True) == text
    assert tokenizer.convert_tokens_to_ids("</think>") in ids
    assert len({tokenizer.bos_token_id, tokenizer.eos_token_id, tokenizer.pad_token_id}) == 3


def test_saved_and_loaded_alike(tokenizer: PreTrainedTokenizerFast, tmp_path) -> None:
    from transformers import AutoTokenizer

    tokenizer.save_pretrained(tmp_path)
    loaded = AutoTokenizer.from_pretrained(tmp_path)
    text = "Hmm, Bob has 12.\n</think>\n\nThe answer is \\boxed{12}."
    assert loaded(text)["input_ids"] == tokenizer(text)["input_ids"]
    assert loaded.apply_chat_template(MESSAGES, tokenize=False) == tokenizer.apply_chat_template(
        MESSAGES, tokenize=False
    )
    assert loaded.padding_side == "left"
    assert loaded.is_fast
