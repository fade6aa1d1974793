"""Prompts as the model reads them: one start token, an assistant's turn gone on with, refusals in one line."""

from __future__ import annotations

import pytest
from transformers import AutoTokenizer

from attnpo.errors import ConfigError, DataError
from attnpo.sampling import render_prompt
from attnpo.sampling.prompts import continues, one_start, opened
from attnpo.sampling.server_requests import chat_messages
from attnpo.tinyworld import checkpoint_path

ASK = [{"role": "user", "content": "How many does Bob have?"}]
BEGUN = [*ASK, {"role": "assistant", "content": "<think>\nFirst, Leo has 9."}]


@pytest.fixture(scope="module")
def tokenizer():
    return AutoTokenizer.from_pretrained(checkpoint_path())


class Starts:
    """A tokenizer that begins every text with its start token, as Llama's does; a token is a character."""

    bos_token_id, bos_token = 1, "\x01"

    def __call__(self, text, add_special_tokens=True):
        return {"input_ids": [*([1] if add_special_tokens else []), *map(ord, text)]}


@pytest.mark.parametrize("text", ["hi", "\x01hi"])
def test_a_rendered_text_has_one_start_token(text):
    assert render_prompt(Starts(), text) == [1, *map(ord, "hi")]
    assert render_prompt(Starts(), text, opening="!") == [1, *map(ord, "hi!")]


def test_a_tokenizer_that_adds_none_keeps_what_stands_there(tokenizer):
    rendered = tokenizer.apply_chat_template(ASK, add_generation_prompt=True, tokenize=False)
    assert render_prompt(tokenizer, rendered) == render_prompt(tokenizer, ASK)
    assert one_start(tokenizer, [5, 5]) == [5, 5]
    assert one_start(tokenizer, []) == []


@pytest.mark.parametrize("opening", ["", "<think>\n"])
def test_ids_that_others_made_become_those_of_the_prompt(tokenizer, opening):
    closed = tokenizer.apply_chat_template(BEGUN, add_generation_prompt=True, return_dict=True)["input_ids"]
    assert opened(tokenizer, BEGUN, closed, opening) == render_prompt(tokenizer, BEGUN, opening)
    assert closed != render_prompt(tokenizer, BEGUN)
    twice = [1, *Starts()("\x01hi", add_special_tokens=False)["input_ids"]]
    assert opened(Starts(), "\x01hi", twice, opening) == render_prompt(Starts(), "\x01hi", opening)


def test_an_assistants_last_message_is_continued(tokenizer):
    text = tokenizer.decode(render_prompt(tokenizer, BEGUN))
    assert text.endswith("<think>\nFirst, Leo has 9.")
    assert text.count("<|assistant|>") == 1
    assert not text.endswith(tokenizer.eos_token)
    assert (continues(BEGUN), continues(ASK), continues("text"), continues([])) == (True, False, False, False)


def test_a_chat_server_would_close_it_and_is_refused():
    with pytest.raises(ConfigError, match="a chat server closes the assistant's last message"):
        chat_messages(BEGUN)


def test_what_a_template_cannot_render_is_one_line(tokenizer):
    with pytest.raises(DataError, match="there is no message"):
        render_prompt(tokenizer, [])
    strict = AutoTokenizer.from_pretrained(checkpoint_path())
    strict.chat_template = "{{ raise_exception('system role\nis not supported') }}"
    with pytest.raises(DataError, match=r"cannot render the messages \(system role is not supported\)"):
        render_prompt(strict, ASK)
