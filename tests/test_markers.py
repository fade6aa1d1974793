"""Markers of other families, read and written as `<think>` and `</think>`."""

from __future__ import annotations

import re

import pytest
from byte_tokenizer import byte_tokenizer
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import AddedToken

from attnpo.credit.policy import Policy
from attnpo.errors import ConfigError
from attnpo.markers import FAMILIES, Markers, give_markers, markers_of, parse_markers
from attnpo.sampling import render_prompt
from attnpo.sampling.server_answers import read_response
from attnpo.segmentation import ParagraphStrategy, Segmenter
from attnpo.think import ThinkOpening, final_answer

HARMONY = FAMILIES["harmony"]
HARMONY_TOKENS = ("<|start|>", "<|channel|>", "<|message|>", "<|end|>", "<|return|>")
ANSWERS = {
    **{name: f"{markers.opens}\nSix.\n\nSeven.\n{markers.closes}\n\nIt is 7." for name, markers in FAMILIES.items()},
    "think": "<think>\nSix.\n\nSeven.\n</think>\n\nIt is 7.",
    "thought": (
        "<|begin_of_thought|>\nSix.\n\nSeven.\n<|end_of_thought|>\n\n<|begin_of_solution|>It is 7.<|end_of_solution|>"
    ),
}


def tokenizer_of(family: str, special: bool = True):
    tokenizer = byte_tokenizer(adds_bos=False)
    if family == "harmony":
        tokenizer.add_tokens([AddedToken(token, special=special) for token in HARMONY_TOKENS])
        tokenizer.chat_template = "{% for m in messages %}<|start|>user<|message|>{{ m['content'] }}<|end|>{% endfor %}"
        tokenizer.chat_template += "{% if add_generation_prompt %}<|start|>assistant{% endif %}"
    elif family != "think":
        give_markers(tokenizer, family)
    return tokenizer


@pytest.mark.parametrize("family", ANSWERS)
@pytest.mark.parametrize("special", [True, False])
def test_every_family_is_cut_as_r1_is(family: str, special: bool) -> None:
    tokenizer = tokenizer_of(family, special)
    ids = tokenizer(ANSWERS[family], add_special_tokens=False)["input_ids"]
    cut = Segmenter(tokenizer, ParagraphStrategy())([*ids, tokenizer.eos_token_id], in_think=False)
    assert cut.text == ANSWERS["think"]
    assert [cut.text[slice(*step.chars)].strip() for step in cut.steps] == ["Six.", "Seven."]
    assert [tokenizer.decode(ids[slice(*step.tokens)]).strip() for step in cut.steps] == ["Six.", "Seven."]
    assert (cut.closed, final_answer(cut.text)) == (True, "\n\nIt is 7.")
    assert "It is 7." in tokenizer.decode(ids[slice(*cut.answer_tokens)])


@pytest.mark.parametrize("field", ["reasoning", "reasoning_content"])
def test_a_chat_servers_two_parts_become_what_gpt_oss_wrote(field: str) -> None:
    tokenizer = tokenizer_of("harmony")
    message = {"role": "assistant", field: "Six.\n\nSeven.", "content": "It is 7."}
    answer = {"choices": [{"index": 0, "finish_reason": "stop", "message": message}]}
    ids = read_response(answer, "chat", tokenizer, opened=False).ids
    assert tokenizer.decode(ids) == ANSWERS["harmony"] + tokenizer.eos_token
    assert Segmenter(tokenizer, ParagraphStrategy())(ids, in_think=False).text == ANSWERS["think"]


def test_gpt_oss_is_known_by_its_tokens_and_openthinker_by_its_template() -> None:
    assert markers_of(tokenizer_of("harmony")) == HARMONY
    tokenizer = byte_tokenizer()
    assert markers_of(tokenizer) == FAMILIES["think"]
    tokenizer.chat_template = "Think between <|begin_of_thought|> and <|end_of_thought|>. {{ messages }}"
    assert markers_of(tokenizer) == FAMILIES["thought"]
    tokenizer.chat_template += "<think>"
    assert markers_of(tokenizer) == FAMILIES["think"]


@pytest.mark.parametrize(
    ("opening", "opens"),
    [
        ("", False),
        ("<think>", True),
        (HARMONY.opens, True),
        (f"<think>{HARMONY.closes}", False),
        ("<think></think>", False),
    ],
)
def test_prompts_of_gpt_oss_open_what_their_last_turn_leaves_open(opening: str, opens: bool) -> None:
    tokenizer = tokenizer_of("harmony")
    asked = [{"role": "user", "content": f"What does <think> mean, and {HARMONY.opens}?"}]
    assert ThinkOpening(tokenizer)(render_prompt(tokenizer, asked, opening)) is opens


def test_what_a_method_writes_is_written_in_the_models_markers() -> None:
    tokenizer = tokenizer_of("harmony")
    policy = Policy(tokenizer, *[None] * 5)  # type: ignore[arg-type]
    assert tokenizer.decode(policy.encode("So.</think>It")) == f"So.{HARMONY.closes}It"


@given(st.lists(st.sampled_from(["a", "\n\n", *HARMONY.texts, "<|end|>", "b "]), max_size=12))
def test_spans_follow_the_text(parts: list[str]) -> None:
    text = "".join(parts)
    read, moved = HARMONY.read_spans(text, [(i, i + 1) for i in range(len(text))])
    assert read == HARMONY.read(text)
    assert sorted(moved) == moved
    assert [b for _, b in moved[-1:]] == [len(read)] * bool(text)
    marked = re.compile("|".join(map(re.escape, (HARMONY.closes, HARMONY.opens))))
    outside = set(range(len(text))) - {i for match in marked.finditer(text) for i in range(*match.span())}
    assert "".join(read[slice(*moved[i])] for i in sorted(outside)) == marked.sub("", text)


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ("harmny", "is no family of models"),
        ('{"opens": "<a>"', "is not JSON"),
        ('{"opens": "<a>"}', "opens and closes must be texts"),
        ('{"opens": "<a>", "closes": "<a>"}', "are the same"),
        ('{"opens": "<a>", "closes": "</a>", "ends": "x"}', "there is no 'ends'"),
        ('{"opens": "<a>", "closes": "</a>", "drops": "x"}', "drops a list of texts"),
    ],
)
def test_what_are_no_markers_is_refused_in_one_line(value: str, said: str) -> None:
    with pytest.raises(ConfigError, match=said) as raised:
        parse_markers(value)
    assert "\n" not in str(raised.value)


def test_own_markers() -> None:
    assert parse_markers('{"opens": "<r>", "closes": "</r>", "drops": ["END"]}') == Markers("<r>", "</r>", ("END",))
