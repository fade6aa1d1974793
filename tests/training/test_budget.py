"""A run whose length is counted in sampled tokens."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from small_training import config
from transformers import TrainerCallback
from transformers.trainer_callback import ExportableState

from attnpo.errors import ConfigError
from attnpo.rollouts import read_rollouts
from attnpo.training import AttnPOTrainer
from attnpo.training.budget import CourseCallback, TokenCount, token_schedule

FAST = {
    "method": "rloo",
    "heads": None,
    "per_device_train_batch_size": 8,
    "gradient_accumulation_steps": 1,
    "max_completion_length": 96,
    "max_steps": 50,
    "warmup_steps": 1,
    "save_rollouts": True,
}


def logged(trainer, name):
    return [row[name] for row in trainer.state.log_history if "attnpo/accuracy" in row]


def test_the_run_ends_once_the_budget_is_spent_and_the_learning_rate_falls_with_it(make_trainer):
    trainer = make_trainer(max_sampled_tokens=1800, lr_scheduler_type="linear", keep_models=2, **FAST)
    trainer.train()
    on_the_way = Path(trainer.args.output_dir) / "course"
    assert sorted(str(p.relative_to(on_the_way)) for p in on_the_way.glob("*/model.safetensors")) == [
        "1/model.safetensors", "2/model.safetensors",
    ]  # fmt: skip
    steps: dict[int, int] = {}
    for rollout in read_rollouts(trainer.rollouts_path):
        step = rollout.extra["train_step"]
        steps[step] = steps.get(step, 0) + rollout.n_tokens
    spent = [sum(steps[s] for s in range(t + 1)) for t in range(len(steps))]
    assert spent[-2] < 1800 <= spent[-1]
    assert logged(trainer, "attnpo/sampled_tokens") == spent
    # The first step warms up; the others go by what was spent before them.
    expected = [0.0, *(1e-3 * (1 - tokens / 1800) for tokens in spent[:-1])]
    assert logged(trainer, "learning_rate") == pytest.approx(expected, rel=1e-4)


def test_a_resumed_run_spends_the_same_tokens(model, tokenizer, problems, tmp_path, make_trainer):
    import copy

    start = copy.deepcopy(model.state_dict())
    whole = make_trainer(max_sampled_tokens=1800, **FAST)
    whole.train()
    model.load_state_dict(start)
    settings = {**FAST, "save_strategy": "steps", "save_steps": 1}
    trainer = make_trainer(max_sampled_tokens=1800, **{**settings, "max_steps": 1})
    trainer.train()
    again = AttnPOTrainer(
        model,
        config(tmp_path / "run", max_sampled_tokens=1800, **settings),
        problems,
        processing_class=tokenizer,
    )
    again.train(resume_from_checkpoint=str(tmp_path / "run" / "checkpoint-1"))
    again.verifier.close()
    assert again.token_count == whole.token_count
    assert again.state.global_step == whole.state.global_step > 1


def test_a_checkpoint_without_a_count_is_refused(make_trainer, tmp_path):
    settings = {**FAST, "save_strategy": "steps", "save_steps": 1}
    make_trainer(**{**settings, "max_steps": 1}).train()
    path = tmp_path / "run" / "checkpoint-1" / "trainer_state.json"
    state = json.loads(path.read_text())
    del state["stateful_callbacks"]["TokenCountCallback"]
    path.write_text(json.dumps(state))
    with pytest.raises(ConfigError, match="max_sampled_tokens"):
        make_trainer(max_sampled_tokens=100, **settings).train(resume_from_checkpoint=str(path.parent))


class Counts(TrainerCallback, ExportableState):
    """A user's callback with a state."""

    def state(self):
        return {"args": {}, "attributes": {"count": 1}}


def test_a_checkpoint_that_another_trainer_wrote_can_be_gone_on_from_and_saved(make_trainer, tmp_path):
    settings = {**FAST, "save_strategy": "steps", "save_steps": 1}
    make_trainer(**{**settings, "max_steps": 1}).train()
    path = tmp_path / "run" / "checkpoint-1" / "trainer_state.json"
    state = json.loads(path.read_text())
    state["stateful_callbacks"] = {"TrainerControl": state["stateful_callbacks"]["TrainerControl"]}
    path.write_text(json.dumps(state))
    again = make_trainer(callbacks=[Counts()], **{**settings, "max_steps": 2})
    again.train(resume_from_checkpoint=str(path.parent))
    saved = json.loads((tmp_path / "run" / "checkpoint-2" / "trainer_state.json").read_text())["stateful_callbacks"]
    assert saved["TokenCountCallback"]["attributes"]["sampled"] == again.token_count.sampled > 0
    assert {"NanGuardCallback", "UpdatesCallback", "LossMeanCallback", "Counts"} <= saved.keys()


def test_counts_are_summed_over_processes_and_logged_by_name():
    both = TokenCount(7, 2, 5).reduced(lambda own: own + torch.tensor([3, 1, 0]), torch.device("cpu"))
    assert both == TokenCount(10, 3, 5)
    assert both.metrics() == {"sampled_tokens": 10.0, "extra_tokens": 3.0, "extra_pass_tokens": 5.0}


def test_schedules_follow_the_spent_share():
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=2.0)
    spent = [0.0]
    schedule = token_schedule(optimizer, "cosine", lambda: spent[0], warmup_steps=2)
    rates = [schedule.get_last_lr()[0]]
    for share in (0.1, 0.25, 0.5, 1.0, 1.2):
        spent[0] = share
        optimizer.step()
        schedule.step()
        rates.append(schedule.get_last_lr()[0])
    from math import cos, pi

    assert rates == pytest.approx([0.0, 1.0, *(1 + cos(pi * share) for share in (0.25, 0.5, 1.0, 1.0))], abs=1e-5)


def test_schedules_that_look_at_the_loss_are_refused():
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=2.0)
    with pytest.raises(ConfigError, match="lr_scheduler_type"):
        token_schedule(optimizer, "reduce_lr_on_plateau", lambda: 0.0, 0)


def test_a_budget_below_one_is_refused():
    with pytest.raises(ConfigError, match="max_sampled_tokens"):
        config("unused", max_sampled_tokens=0)


def test_models_on_the_way_are_kept_once_at_equal_shares():
    kept = []
    count = TokenCount()
    callback = CourseCallback(count, 100, 3, kept.append)
    callback.on_train_begin(None, None, None)
    seen = []
    for sampled in (10, 24, 25, 49, 80, 100, 130):
        count.sampled = sampled
        callback.on_step_end(None, None, None)
        seen.append(list(kept))
    assert seen == [[], [], [1], [1], [1, 2, 3], [1, 2, 3], [1, 2, 3]]


def test_a_run_that_goes_on_keeps_what_is_left():
    kept = []
    count = TokenCount(sampled=60)
    callback = CourseCallback(count, 100, 3, kept.append)
    callback.on_train_begin(None, None, None)
    count.sampled = 77
    callback.on_step_end(None, None, None)
    assert kept == [3]
