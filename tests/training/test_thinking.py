"""Prompts that open a think part, that do not, that close it: what a training step makes of each."""

from __future__ import annotations

import copy
import logging

import pytest

from attnpo.rollouts import read_rollouts
from attnpo.sampling import render_prompt
from attnpo.tinyworld.tokenizer import CHAT_TEMPLATE, THINK, build_tokenizer

PLAIN = CHAT_TEMPLATE.replace(f"{THINK}\\n", "")
CLOSED = CHAT_TEMPLATE.replace(f"{THINK}\\n", f"{THINK}\\n\\n</think>\\n\\n")


def rows_of(trainer):
    trainer.train()
    log = next(row for row in reversed(trainer.state.log_history) if "attnpo/accuracy" in row)
    rollouts = list(read_rollouts(trainer.rollouts_path))
    trainer.rollouts_path.unlink()
    return rollouts, log


def templated(template):
    tokenizer = build_tokenizer()
    assert template != CHAT_TEMPLATE
    tokenizer.chat_template = template
    return tokenizer


@pytest.mark.parametrize("template", [PLAIN, CLOSED], ids=["plain", "closed"])
@pytest.mark.parametrize("group_sampler", [True, False])
def test_a_response_without_a_think_part_is_an_answer(make_trainer, caplog, template, group_sampler):
    trainer = make_trainer(
        processing_class=templated(template), save_rollouts=True, group_sampler=group_sampler, max_completion_length=24
    )
    rollouts, log = rows_of(trainer)
    for rollout in rollouts:
        tagged = THINK in rollout.response or "</think>" in rollout.response
        assert not rollout.in_think
        assert tagged or (rollout.steps == () and rollout.answer_tokens[0] == 0 < rollout.answer_tokens[1])
    assert not all(rollout.has_think_part for rollout in rollouts)
    assert log["attnpo/think_part"] == pytest.approx(sum(r.has_think_part for r in rollouts) / len(rollouts))
    said = [record.getMessage() for record in caplog.records if "have a think part" in record.getMessage()]
    said += [record.getMessage() for record in caplog.records if "has a think part" in record.getMessage()]
    assert len(said) == 1


def test_an_opening_opens_it_again(make_trainer, model, caplog):
    settings = {"save_rollouts": True, "max_completion_length": 64}
    usual, usual_log = rows_of(make_trainer(model=copy.deepcopy(model), **settings))
    plain = make_trainer(processing_class=templated(PLAIN), opening=f"{THINK}\\n", **settings)
    opened, log = rows_of(plain)
    assert log["attnpo/think_part"] == 1.0
    assert all(r.in_think and r.opening == f"{THINK}\n" for r in opened)
    assert not [each for each in caplog.records if each.levelno >= logging.WARNING and "think" in each.getMessage()]
    # The very prompts of the template that opens the think part, so the very responses.
    assert [r.response_ids for r in opened] == [r.response_ids for r in usual]
    assert log["loss"] == usual_log["loss"]


def test_training_continues_an_assistants_message_as_everything_else_does(make_trainer):
    trainer = make_trainer()
    begun = [{"role": "user", "content": "How many?"}, {"role": "assistant", "content": "<think>\nFirst, Leo"}]
    ids, *_ = trainer._tokenize_prompts([begun, begun])
    assert [list(each) for each in ids] == [render_prompt(trainer.processing_class, begun)] * 2
    assert trainer.segmenter.opens_think(ids[0])
