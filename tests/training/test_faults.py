"""What goes wrong in a run of days, made to happen while a model trains."""

from __future__ import annotations

import json
import os
import resource
import signal
from itertools import pairwise

import faulty_verifier
import pytest
import torch
from small_training import config
from transformers import AutoModelForCausalLM, TrainerCallback

from attnpo.errors import ConfigError, OutputError, TrainingError
from attnpo.tinyworld import checkpoint_path
from attnpo.training import AttnPOTrainer, TrainingInterrupted, last_checkpoint

SMALL = {
    "per_device_train_batch_size": 8,
    "gradient_accumulation_steps": 1,
    "max_completion_length": 48,
    "max_steps": 4,
    "save_strategy": "steps",
    "save_steps": 1,
}


class At(TrainerCallback):
    """Does something at the beginning or after the end of a step."""

    def __init__(self, do, begin: int | None = None, save: int | None = None):
        self.do, self.begin, self.save = do, begin, save

    def on_step_begin(self, args, state, control, **kwargs):
        if state.global_step + 1 == self.begin:
            self.do()

    def on_save(self, args, state, control, **kwargs):
        if state.global_step == self.save:
            self.do()


@pytest.fixture
def train(tokenizer, problems, tmp_path):
    made = []

    def make(name: str = "run", callbacks: tuple = (), reward_funcs=None, **settings) -> AttnPOTrainer:
        model = AutoModelForCausalLM.from_pretrained(checkpoint_path(), dtype=torch.float32)
        args = config(tmp_path / name, **{**SMALL, **settings})
        trainer = AttnPOTrainer(
            model, args, problems, processing_class=tokenizer, callbacks=list(callbacks), reward_funcs=reward_funcs
        )
        made.append(trainer)
        return trainer

    yield make
    for trainer in made:
        trainer.verifier.close()


def rows(trainer) -> list[dict]:
    return [json.loads(line) for line in trainer.dropped.path.read_text().splitlines()]


def logged(trainer, name: str) -> list[float]:
    return [row[name] for row in trainer.state.log_history if name in row and "grad_norm" in row]


def weights(trainer) -> list[torch.Tensor]:
    return [parameter.detach().clone() for parameter in trainer.model.parameters()]


@pytest.mark.parametrize(
    ("settings", "stops_at"),
    [
        ({"method": "laser_d", "method_settings": {"grid_start": 8, "grid_step": 8}, "group_sampler": True}, 2),
        (
            {"group_sampler": False, "num_iterations": 2},
            2,
        ),  # asked to stop after step 1: the responses serve step 2 too
    ],
    ids=["own sampler, a method that learns", "TRL's generation, two updates a batch"],
)
def test_ctrl_c_saves_and_the_run_goes_on_as_if_nothing_had_been(train, heard, settings, stops_at):
    settings = {"save_strategy": "no", "beta": 0.0, **settings}
    whole = train("whole", **settings)
    whole.train()
    begin = 2 if "method" in settings else 1
    stopped = train("stopped", [At(lambda: os.kill(os.getpid(), signal.SIGINT), begin=begin)], **settings)
    handler = signal.getsignal(signal.SIGINT)
    with pytest.raises(
        TrainingInterrupted, match=rf"SIGINT: stopped after step {stops_at} of 4; saved .*checkpoint"
    ) as caught:
        stopped.train()
    assert caught.value.code == 130
    assert isinstance(caught.value, KeyboardInterrupt)
    assert signal.getsignal(signal.SIGINT) is handler
    resumed = train("stopped", **settings, resume_from_checkpoint="true")
    checkpoint = last_checkpoint(resumed.args)
    assert checkpoint is not None
    assert checkpoint.endswith(f"checkpoint-{stops_at}")
    resumed.train(resume_from_checkpoint=checkpoint)
    assert all(torch.equal(a, b) for a, b in zip(weights(whole), weights(resumed), strict=True))
    for name in ("attnpo/reward", "grad_norm", "learning_rate", "attnpo/sampled_tokens"):
        assert logged(resumed, name) == logged(whole, name)
    assert rows(resumed) == rows(whole)
    # The last line's mean is of the whole run, not of the part after the interruption.
    mean = sum(logged(whole, "loss")) / 4
    assert mean != pytest.approx(sum(logged(whole, "loss")[stops_at:]) / (4 - stops_at))
    for trainer in (whole, resumed):
        assert trainer.state.log_history[-1]["train_loss"] == pytest.approx(mean, abs=1e-7)


def test_a_loss_that_is_nan_once_is_skipped_and_counted(train):
    trainer = train(max_steps=3, max_completion_length=192, save_strategy="no")
    compute, seen = trainer._compute_loss, []

    def poisoned(model, inputs):
        loss = compute(model, inputs)
        seen.append(weights(trainer))
        return loss * float("nan") if len(seen) == 2 else loss

    trainer._compute_loss = poisoned
    trainer.train()
    moved = [any(not torch.equal(a, b) for a, b in zip(x, y, strict=True)) for x, y in pairwise(seen)]
    assert moved == [True, False]
    assert all(torch.isfinite(parameter).all() for parameter in trainer.model.parameters())
    assert logged(trainer, "attnpo/skipped_updates") == [0, 1, 1]


def test_weights_that_are_not_finite_are_never_written(train, tmp_path):
    def poison() -> None:
        for group in trainer.optimizer.param_groups:
            group["weight_decay"] = float("nan")  # the gradient is finite, the update is not

    trainer = train(callbacks=(At(poison, begin=2),), max_completion_length=192)
    with pytest.raises(
        TrainingError, match=r"^step 2: weights are not finite .* good checkpoint: .*checkpoint-1; lower"
    ):
        trainer.train()
    assert [path.name for path in (tmp_path / "run").glob("checkpoint-*")] == ["checkpoint-1"]
    with pytest.raises(TrainingError, match="weights are not finite"):
        trainer.save_model(str(tmp_path / "model"))
    assert not (tmp_path / "model").exists()


def test_losses_that_stay_nan_end_the_run_with_the_last_checkpoint_named(train):
    trainer = train(max_skipped_updates=2, save_steps=1)
    compute, count = trainer._compute_loss, []

    def poisoned(model, inputs):
        count.append(1)
        return compute(model, inputs) * (float("inf") if len(count) > 1 else 1.0)

    trainer._compute_loss = poisoned
    with pytest.raises(
        TrainingError, match=r"steps 2 to 3: .* last good checkpoint: .*checkpoint-2; .*max_skipped_updates"
    ):
        trainer.train()


def test_a_verifier_that_dies_hangs_and_raises_costs_the_response_not_the_run(train, tmp_path, monkeypatch):
    faults = tmp_path / "faults"
    faults.mkdir()
    monkeypatch.setenv("FAULTS", str(faults))
    trainer = train(
        verifier="faulty_verifier:judge",
        verifier_timeout=1.0,
        max_reward_failures=0.5,
        max_completion_length=192,
        max_steps=1,
        per_device_train_batch_size=16,
        save_strategy="no",
        save_rollouts=True,
    )
    trainer.train()
    assert sorted(path.name for path in faults.iterdir()) == sorted(faulty_verifier.KINDS)
    bad = {path.name: path.read_text() for path in faults.iterdir()}
    answers = [json.loads(line) for line in trainer.rollouts_path.read_text().splitlines()]
    answers = [{**row, "read": f"<think>{row['response']}"} for row in answers]  # the prompt opens the think part
    assert not any(row["correct"] for row in answers if row["read"] in bad.values())
    assert any(row["correct"] for row in answers)
    assert logged(trainer, "attnpo/reward_failures")[0] == sum(row["read"] == bad["raises"] for row in answers) / 16
    assert logged(trainer, "attnpo/verifier_interrupted")[0] > 0
    (failed,) = {row["error"] for row in rows(trainer) if row["reason"] == "reward_failed"}
    assert "cannot read this answer" in failed


def test_a_reward_function_that_raises_on_one_response_is_logged_with_the_prompt(train):
    seen = []

    def picky(completions, **columns):
        seen.append(len(completions))
        if len(completions) > 1 or len(seen) == 4:  # the third response when asked alone
            raise ValueError("unbalanced brackets")
        return [0.5]

    trainer = train(reward_funcs=[picky], max_steps=1, save_strategy="no")
    trainer.train()
    assert seen == [8] + [1] * 8
    (row,) = (row for row in rows(trainer) if row["reason"] == "reward_failed")
    assert (row["train_step"], row["sample"], row["function"]) == (0, 2, "picky")
    assert row["error"] == "ValueError: unbalanced brackets"
    assert row["prompt"]
    assert row["problem_id"]
    assert logged(trainer, "rewards/picky/mean") == [0.5]
    # Verifier and function: 16 answers were asked for.
    assert logged(trainer, "attnpo/reward_failures") == [1 / 16]


def test_a_disk_that_fills_up_while_saving_leaves_the_last_checkpoint(train, tmp_path):
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    fill = At(lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, hard)), save=1)
    trainer = train("full", [fill])
    try:
        with pytest.raises(OutputError) as caught:
            trainer.train()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    said = str(caught.value)
    assert "checkpoint-2 was half written and is removed" in said
    assert f"last good checkpoint: {tmp_path / 'full' / 'checkpoint-1'};" in said
    assert "\n" not in said
    assert [path.name for path in (tmp_path / "full").glob("checkpoint-*")] == ["checkpoint-1"]


def test_a_half_written_checkpoint_is_passed_over(train, tmp_path):
    trainer = train(max_steps=2, resume_from_checkpoint="true")
    trainer.train()
    folder = tmp_path / "run"
    (folder / "checkpoint-2" / "trainer_state.json").unlink()
    assert last_checkpoint(trainer.args) == str(folder / "checkpoint-1")
    trainer.args.resume_from_checkpoint = str(folder / "checkpoint-2")
    with pytest.raises(ConfigError, match="was not written to its end"):
        last_checkpoint(trainer.args)


def test_prompts_that_taught_nothing_are_named(train, problems, tmp_path):
    trainer = train(
        method="rloo", max_completion_length=4, max_steps=2, save_strategy="no"
    )  # nobody answers in 4 tokens
    trainer.train()
    assert [(row["train_step"], row["reason"]) for row in rows(trainer)] == [(s, "all_wrong") for s in (0, 0, 1, 1)]
    asked = {row["problem_id"]: row["prompt"][-1]["content"] for row in problems}
    assert all(asked[row["problem_id"]].startswith(row["prompt"].rstrip("…")) for row in rows(trainer))
    assert logged(trainer, "attnpo/dropped_groups") == [1.0, 1.0]
