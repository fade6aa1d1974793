"""A run that changes nothing says so; one that has nothing left to do is no mistake."""

from __future__ import annotations

import logging
from types import SimpleNamespace

import pytest
from transformers import TrainerControl

from attnpo.errors import ConfigError, TrainingError
from attnpo.training.updates import RunFinished, UpdatesCallback


def state(step: int, most: int = 9, saved: dict | None = None) -> SimpleNamespace:
    return SimpleNamespace(global_step=step, max_steps=most, is_world_process_zero=True, stateful_callbacks=saved)


def end_step(updates: UpdatesCallback, step: int) -> None:
    updates.on_step_end(None, state(step), TrainerControl())


def test_a_first_step_without_gradient_is_said_at_once_and_once(caplog):
    updates = UpdatesCallback()
    with caplog.at_level(logging.WARNING):
        updates.note_groups(["all_wrong", "all_wrong", "all_right", "equal_rewards"])
        for step in (1, 2, 3):
            updates.note_update(False)
            end_step(updates, step)
    (said,) = caplog.messages
    for words in ("step 1", "4 of 4 groups", "2 all responses wrong", "1 all responses right", "1 equal rewards"):
        assert words in said


def test_a_step_that_learns_is_not_spoken_of(caplog):
    updates = UpdatesCallback()
    updates.note_groups(["all_wrong", None])
    updates.note_update(True)
    end_step(updates, 1)
    updates.check_steps(state(1))
    updates.check_learnt(state(1))
    assert caplog.messages == []


def test_a_run_without_a_step_is_an_error():
    with pytest.raises(TrainingError, match="no update was made"):
        UpdatesCallback().check_steps(state(0))


def test_a_run_without_a_gradient_is_said_and_is_no_result(caplog):
    updates = UpdatesCallback()
    for _ in range(3):
        updates.note_update(False)
    updates.check_steps(state(3))
    assert "3 steps, and no update" in caplog.text
    with pytest.raises(TrainingError, match="3 steps, and no update"):
        updates.check_learnt(state(3))


def test_the_counts_travel_with_the_checkpoint():
    updates = UpdatesCallback()
    updates.note_update(True)
    updates.note_groups(["all_wrong", None])
    saved = {"UpdatesCallback": updates.state()}
    resumed = UpdatesCallback()
    resumed.on_train_begin(None, state(1, saved=saved), TrainerControl())
    assert resumed.state() == updates.state()
    resumed.check_learnt(state(2))
    older = UpdatesCallback()  # a checkpoint of before these counts
    older.on_train_begin(None, state(1, saved={}), TrainerControl())
    older.check_learnt(state(2))


@pytest.mark.parametrize(("step", "spent"), [(9, False), (5, True)])
def test_a_finished_run_has_nothing_left_to_train(step, spent):
    with pytest.raises(RunFinished):
        UpdatesCallback(lambda: spent).on_train_begin(None, state(step), TrainerControl())


def test_a_run_in_which_no_group_teaches_anything(make_trainer, caplog):
    trainer = make_trainer(max_steps=2, max_completion_length=8)  # nobody answers in 8 tokens
    with caplog.at_level(logging.WARNING):
        trainer.train()
    for words in ("step 1: nothing was learnt", "2 steps, and no update"):
        assert sum(words in message for message in caplog.messages) == 1
    with pytest.raises(TrainingError, match=r"no update: .* all responses wrong"):
        trainer.updates.check_learnt(trainer.state)


def test_a_finished_run_makes_no_further_step(make_trainer, tmp_path):
    settings = {"max_steps": 1, "save_strategy": "steps", "save_steps": 1}
    make_trainer(**settings).train()
    trainer = make_trainer(**settings)
    before = trainer.token_count.sampled
    output = trainer.train(resume_from_checkpoint=str(tmp_path / "run" / "checkpoint-1"))
    assert (output.global_step, trainer.state.global_step, before) == (1, 1, 0)
    assert not (tmp_path / "run" / "checkpoint-2").exists()


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"per_device_train_batch_size": 512}, "data: 64 problems are fewer than the 256 prompts"),
        ({"max_steps": -1, "num_train_epochs": 0}, "num_train_epochs: 0 is not allowed"),
        ({"eval_strategy": "steps"}, "eval_strategy: steps needs problems"),
        ({"reward_weights": [1.0, 2.0]}, "reward_weights: 2 weights for 1 reward functions"),
        ({"reward_weights": [0.5]}, "reward_weights: the first, 0.5, is the verdict's"),
    ],
)
def test_the_list_is_checked_from_python_too(make_trainer, settings, words):
    with pytest.raises(ConfigError, match=words):
        make_trainer(**settings)
