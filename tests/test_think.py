"""What is thinking: read off prompts of real templates' kinds, off responses, and told from one to the other."""

from __future__ import annotations

import logging

import pytest
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from attnpo.collecting import ThinkWatch, collect_rollouts, read_groups
from attnpo.collecting.think_watch import ENOUGH
from attnpo.datasets import ProblemRow
from attnpo.evaluation.tally import Tally
from attnpo.markers import FAMILIES, family_of
from attnpo.rollouts import Rollout
from attnpo.sampling import SampledResponse, SamplingParams, render_prompt
from attnpo.segmentation import Segmenter, build_strategy, segment_text
from attnpo.think import ThinkOpening, final_answer, full_text, has_think_part
from attnpo.verification import build_verifier

MARKS = ["<|im_start|>", "<|im_end|>", "<|end|>"]
CHATML = (
    "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{{ m['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n%s{% endif %}"
)
ASK = [{"role": "user", "content": "What is 3 + 4?"}]


def byte_tokenizer(special_tags: bool = False) -> PreTrainedTokenizerFast:
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    backend = Tokenizer(models.BPE(vocab={letter: i for i, letter in enumerate(alphabet)}, merges=[]))
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=backend, eos_token="<|end|>", pad_token="<|end|>")
    tokenizer.add_special_tokens({"additional_special_tokens": MARKS[:2]})
    tokenizer.add_tokens([AddedToken(tag, special=special_tags, normalized=False) for tag in ("<think>", "</think>")])
    return tokenizer


@pytest.fixture(scope="module", params=[False, True], ids=["plain tags", "special tags"])
def tokenizer(request):
    return byte_tokenizer(request.param)


@pytest.mark.parametrize(
    ("behind", "opening", "opens"),
    [
        ("", "", False),  # a plain instruct model's
        ("<think>\n", "", True),  # DeepSeek-R1's
        ("<think>\n\n</think>\n\n", "", False),  # Qwen3's with thinking switched off
        ("", "<think>\n", True),
        ("", "<think>\n\n</think>\n\n", False),
        ("<think>\n", "...\n", True),  # AutoThink's
        ("<think>\n", "\n</think>\n\n", False),
        ("<think>\n\n</think>\n\n", "<think>\n", True),
    ],
)
@pytest.mark.parametrize("system", [None, "Think between <think> and </think>.", "Begin with <think>."])
def test_a_prompt_opens_what_its_assistant_turn_leaves_open(tokenizer, behind, opening, opens, system):
    tokenizer.chat_template = CHATML.replace("%s", behind)
    messages = ASK if system is None else [{"role": "system", "content": system}, *ASK]
    assert ThinkOpening(tokenizer)(render_prompt(tokenizer, messages, opening)) is opens


@pytest.mark.parametrize(
    ("behind", "opening", "shut"),
    [
        ("", "", False),  # Qwen3's with thinking switched on: the model writes the tag
        ("<think>\n", "", False),
        ("<think>\n\n</think>\n\n", "", True),  # with thinking switched off
        ("<think>\n", "\n</think>\n\n", True),
        ("<think>\n\n</think>\n\n", "<think>\n", False),
    ],
)
def test_a_prompt_is_shut_by_what_its_assistant_turn_closes(tokenizer, behind, opening, shut):
    tokenizer.chat_template = CHATML.replace("%s", behind)
    messages = [{"role": "system", "content": "End with </think>."}, *ASK]
    assert ThinkOpening(tokenizer).is_shut(render_prompt(tokenizer, messages, opening)) is shut


def test_a_plain_text_prompt_may_open_one(tokenizer):
    opens = ThinkOpening(tokenizer)
    assert opens(render_prompt(tokenizer, "Q: 3 + 4?\nA: <think>"))
    assert not opens(render_prompt(tokenizer, "Q: 3 + 4?\nA:"))
    assert not opens([])


@pytest.mark.parametrize(
    ("response", "in_think", "answer", "thinks"),
    [
        ("3 + 4 = 7", False, "3 + 4 = 7", False),
        ("3 + 4 = 7", True, None, True),
        ("<think>3 + 4", False, None, True),
        ("<think>3 + 4</think>7", False, "7", True),
        ("<think>3 + 4</think>7", True, "7", True),
        ("3 + 4</think>7", True, "7", True),
        ("3 + 4</think>7", False, "7", True),  # opened where it cannot be seen
        ("a</think>b<think>c</think>d", True, "d", True),
        ("a</think>", True, "", True),
        ("", False, "", False),
        ("", True, None, True),
    ],
)
def test_what_of_a_response_is_its_answer(response, in_think, answer, thinks):
    assert final_answer(full_text(response, in_think)) == answer
    assert has_think_part(response, in_think) is thinks


def test_a_response_opened_twice_shows_one_tag():
    assert full_text("<think>\n</think>7", True) == "<think>\n</think>7"
    assert full_text("7", True) == "<think>7"


def test_without_a_think_part_all_is_answer_and_no_step_exists(tokenizer):
    text = "First, 3 + 4.\n\nWait, 3 + 4 = 7."
    cut = segment_text(text, build_strategy("paragraphs"), in_think=False)
    assert (cut.steps, cut.answer, cut.closed) == ((), (0, len(text)), False)
    ids = [*tokenizer(text)["input_ids"], tokenizer.eos_token_id]
    segmented = Segmenter(tokenizer, build_strategy("paragraphs"))(ids, in_think=False)
    assert segmented.steps == ()
    assert segmented.answer_tokens == (0, len(ids) - 1)
    assert segmented.full_text == text
    inside = Segmenter(tokenizer, build_strategy("paragraphs"))(ids, in_think=True)
    assert (len(inside.steps), inside.answer_tokens) == (2, (len(ids) - 1, len(ids) - 1))


class Says:
    """An engine that gives every request the same text."""

    def __init__(self, tokenizer, text, finished=True, in_think=None):
        ids = tokenizer(text)["input_ids"]
        self.response = SampledResponse([*ids, tokenizer.eos_token_id] if finished else ids, finished, True, in_think)

    def sample(self, requests, params):
        return ((index, self.response) for index in range(len(requests)))


def collect(tmp_path, tokenizer, sampler, opening="", problems=5):
    rows = [ProblemRow(f"p{i}", ASK, "7") for i in range(problems)]
    with build_verifier("exact") as verifier:
        collected = collect_rollouts(
            tmp_path / "rollouts.jsonl", rows, tokenizer=tokenizer, sampler=sampler, verifier=verifier, samples=2,
            segmenter=Segmenter(tokenizer, build_strategy("paragraphs")), params=SamplingParams(64), settings={},
            opening=opening,
        )  # fmt: skip
    return read_groups(collected.path, rows)


def test_a_plain_models_answer_is_right_and_has_no_thinking(tokenizer, tmp_path, caplog):
    tokenizer.chat_template = CHATML.replace("%s", "")
    rollouts = collect(tmp_path, tokenizer, Says(tokenizer, r"3 + 4 = \boxed{7}"))
    assert all(rollout.correct and not rollout.in_think and rollout.steps == () for rollout in rollouts)
    tally = Tally(lambda text: {})
    for rollout in rollouts:
        tally.add(rollout)
    response, think, answer = tally.measured([]).lengths_N3[0].tolist()
    assert (think, answer) == (0, response - 1)
    assert "none of the first 8 responses has a think part" in caplog.text
    assert "--opening '<think>\\n'" in caplog.text
    assert len(caplog.records) == 1


@pytest.mark.parametrize(
    ("behind", "opening"), [("<think>\n\n</think>\n\n", ""), ("", "<think>\n\n</think>\n\n"), ("<think>\n", "</think>")]
)
def test_a_prompt_that_closes_the_think_part_asks_for_an_answer(tokenizer, tmp_path, behind, opening):
    tokenizer.chat_template = CHATML.replace("%s", behind)
    rollouts = collect(tmp_path, tokenizer, Says(tokenizer, "7"), opening)
    assert [(r.correct, r.steps, r.answer) for r in rollouts] == [(True, (), "7")] * 10


def test_a_model_that_never_leaves_its_think_part_is_told_of(tokenizer, tmp_path, caplog):
    tokenizer.chat_template = CHATML.replace("%s", "<think>\n")
    rollouts = collect(tmp_path, tokenizer, Says(tokenizer, "7"))
    assert [(r.correct, r.in_think, len(r.steps)) for r in rollouts] == [(False, True, 1)] * 10
    assert "none of the first 8 finished responses closes its think part" in caplog.text
    assert "--opening '</think>\\n\\n'" in caplog.text
    assert len(caplog.records) == 1


def test_an_engine_may_know_better_than_the_prompt(tokenizer, tmp_path):
    tokenizer.chat_template = CHATML.replace("%s", "<think>\n")
    rollouts = collect(tmp_path, tokenizer, Says(tokenizer, "7", in_think=False))
    assert [(r.correct, r.in_think) for r in rollouts] == [(True, False)] * 10


def watched(caplog, *responses, repeat=ENOUGH):
    """What is said of (text, finished, in_think)."""
    watch = ThinkWatch()
    for number, (text, finished, in_think) in enumerate(responses * repeat):
        watch.add([Rollout("p", "?", "7", number, (1,), text, finished, in_think=in_think)])
    before_the_end = len(caplog.records)
    watch.end()
    return before_the_end, [record.getMessage() for record in caplog.records]


@pytest.mark.parametrize(
    ("responses", "said"),
    [
        ([("a</think>7", True, True)], ""),
        ([("cut off", False, True)], ""),  # a limit that cuts is another matter, and counted
        ([("a</think>7", True, True), ("never", True, True)], ""),
        ([("a</think>7", True, True), ("7", True, False)], "8 of 16 responses have a think part"),
        ([("never", True, True), ("cut off", False, True)], "none of the first 8 finished responses closes"),
        ([("7", True, False), ("7, cut", False, False)], "none of the first 15 responses has a think part"),
    ],
)
def test_what_is_said_of_a_run(caplog, responses, said):
    caplog.set_level(logging.WARNING)
    _, lines = watched(caplog, *responses)
    assert [line[: len(said)] for line in lines] == ([said] if said else [])


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("<|channel|>analysis<|message|>3 + 4<|end|><|channel|>final<|message|>7", "harmony"),
        ("analysis3 + 4 is 7.assistantfinal7", "harmony"),  # special tokens left out
        ("[THINK]3 + 4[/THINK]7", "magistral"),
        ("\n<thinking>3 + 4</thinking>7", "thinking"),
    ],
)
def test_thinking_between_other_marks_is_told_of(caplog, text, name):
    _, (line,) = watched(caplog, (text, True, False))
    opens = FAMILIES[name].opens
    assert line.startswith(f"none of the first 8 responses has a think part: the model opens its thinking with {opens}")
    assert f"--markers {name}" in line
    assert "--engine server --api chat" in line


@pytest.mark.parametrize("text", ["analysis of 3 + 4: 7", "The answer: <thinking> is a tag.", "7", ""])
def test_a_response_that_speaks_of_marks_does_not_begin_with_one(text):
    assert family_of(text) is None


def test_the_share_is_said_of_a_model_that_thinks(caplog):
    caplog.set_level(logging.INFO, "attnpo")
    assert watched(caplog, ("a</think>7", True, True))[1] == ["all 8 responses have a think part"]


def test_it_is_said_at_once_and_of_few_responses_at_the_end(caplog):
    assert watched(caplog, ("never", True, True))[0] == 1
    caplog.clear()
    assert watched(caplog, ("never", True, True), repeat=2)[0] == 0
    assert "none of the first 2 finished responses" in caplog.text


def test_the_fact_travels_with_the_row():
    row = Rollout("p", "?", "7", 0, (1,), "7", True, in_think=False)
    assert Rollout.from_json(row.to_json()) == row
    assert "in_think" not in Rollout("p", "?", "7", 0, (1,), "7</think>7", True).to_json()
