"""Methods inside the trainer: what they are given, what they ask, what outlives a checkpoint."""

from __future__ import annotations

import json

import pytest
import torch
from model_folders import model_folder
from small_training import config

from attnpo.credit import CreditSettings, GroupBatch, is_repetitive
from attnpo.credit.settings import LengthTermSettings
from attnpo.errors import ConfigError, DataError
from attnpo.rollouts import read_rollouts
from attnpo.training import AttnPOTrainer

L1 = {"longest_request": 128, "shortest_request": 8}
LASER = {"grid_start": 16, "grid_step": 16, "monitor_steps": 2}
FAST = {"per_device_train_batch_size": 8, "gradient_accumulation_steps": 1, "max_completion_length": 128, "heads": None}


def last_log(trainer) -> dict[str, float]:
    return next(row for row in reversed(trainer.state.log_history) if "attnpo/accuracy" in row)


def watched(trainer) -> list[GroupBatch]:
    """The groups that the method is given."""
    seen: list[GroupBatch] = []
    inner = trainer.credit.rewards

    def spy(groups):
        seen.append(groups)
        return inner(groups)

    trainer.credit.rewards = spy
    return seen


def test_l1_asks_in_the_prompt_and_rewards_what_it_asked(make_trainer):
    trainer = make_trainer(method="l1_exact", method_settings=L1, save_rollouts=True, **FAST)
    seen = watched(trainer)
    trainer.train()
    (groups,) = seen
    assert groups.correct_PG.any()
    rollouts = list(read_rollouts(trainer.rollouts_path))
    targets = groups.facts["target_length"][:, 0].tolist()
    assert len(targets) == 2
    assert all(8 <= target <= 128 for target in targets)
    for place, rollout in enumerate(rollouts):
        assert rollout.prompt[-1]["content"].endswith(f" Think for {targets[place // 4]:.0f} tokens.")
    expected = [int(r.correct) - 3e-4 * abs(targets[i // 4] - r.n_tokens) for i, r in enumerate(rollouts)]
    assert last_log(trainer)["attnpo/reward"] == pytest.approx(sum(expected) / 8, abs=1e-6)
    question = trainer.train_dataset[0]["prompt"][-1]["content"]
    assert "Think for" not in question


def test_l1_refuses_prompts_that_are_plain_text_before_the_model_is_loaded(tokenizer, tmp_path):
    from datasets import Dataset

    rows = Dataset.from_list([{"prompt": "1 + 1?", "solution": "2"}])
    args = config(tmp_path, method="l1_max", method_settings=L1, heads=None)
    with pytest.raises(DataError, match=r"^prompt: the requested length belongs at the end of the question"):
        AttnPOTrainer(str(model_folder(tmp_path / "no weights")), args, rows, processing_class=tokenizer)


def test_laser_de_is_given_what_it_reads(make_trainer):
    trainer = make_trainer(method="laser_de", method_settings=LASER, save_rollouts=True, **FAST)
    seen = watched(trainer)
    trainer.train()
    (groups,) = seen
    rollouts = list(read_rollouts(trainer.rollouts_path))
    assert 0 < groups.correct_PG.sum() < 8
    assert groups.answered_PG.any()
    assert groups.answered_PG.flatten().tolist() == [r.answer_tokens[1] > r.answer_tokens[0] for r in rollouts]
    assert groups.facts["repetitive"].flatten().tolist() == [is_repetitive(r.response_ids) for r in rollouts]
    assert groups.lengths_PG.flatten().tolist() == [r.n_tokens for r in rollouts]
    assert (groups.max_length, groups.progress_step) == (128, 0)
    assert groups.group_ids_P.tolist() == [0, 1]
    assert trainer.credit.state.next_choice == 2
    row = last_log(trainer)
    logged = {name: value for name, value in row.items() if name.startswith("attnpo/target_length/")}
    assert logged == {f"attnpo/{name}": value for name, value in trainer.credit.metrics().items()}
    assert torch.isfinite(torch.tensor(row["grad_norm"]))


def test_thinkprunes_stage_stops_sampling(make_trainer):
    settings = {"limits": [20, 10], "stage_steps": 1}
    trainer = make_trainer(method="thinkprune", method_settings=settings, max_steps=2, save_rollouts=True, **FAST)
    trainer.train()
    lengths: dict[int, list[int]] = {0: [], 1: []}
    for rollout in read_rollouts(trainer.rollouts_path):
        lengths[rollout.extra["train_step"]].append(rollout.n_tokens)
    assert max(lengths[0]) == 20
    assert max(lengths[1]) == 10


@pytest.mark.slow
def test_what_a_method_has_learnt_outlives_a_checkpoint(make_trainer, model, tmp_path):
    settings = {"method": "laser_d", "method_settings": LASER, "save_strategy": "steps", "save_steps": 1, **FAST}
    start = {name: value.clone() for name, value in model.state_dict().items()}
    whole = make_trainer(max_steps=2, **settings)
    whole.train()
    checkpoint = tmp_path / "run" / "checkpoint-1"
    saved = json.loads((checkpoint / "trainer_state.json").read_text())["stateful_callbacks"]["MethodStateCallback"]
    assert saved["attributes"]["laser_d"]["responses"] == [0, 0, 0]  # chosen at step 0, counted anew from there
    assert saved["attributes"]["laser_d"]["next_choice"] == 2

    model.load_state_dict(start)
    resumed = make_trainer(max_steps=2, **settings)
    resumed.train(resume_from_checkpoint=str(checkpoint))
    assert resumed.credit.state == whole.credit.state
    assert sum(resumed.credit.state.responses) == 8
    assert resumed.credit.state.targets == whole.credit.state.targets

    other = make_trainer(max_steps=2, **{**settings, "method": "laser_de"})
    with pytest.raises(ConfigError, match=r"^resume_from_checkpoint: it holds no state of method 'laser_de'"):
        other.train(resume_from_checkpoint=str(checkpoint))


def test_a_preset_with_fewer_heads_reads_fewer(make_trainer):
    trainer = make_trainer(method="attnpo-1-head")
    assert [tuple(head) for head in trainer.credit_heads] == [(2, 0)]
    trainer.use_heads([(3, 1), (0, 0)])
    assert [tuple(head) for head in trainer.credit_heads] == [(3, 1)]
    with pytest.raises(ConfigError, match=r"^num_heads: 3 are asked for and the head set holds 2"):
        make_trainer(method="attnpo-3-heads")


@pytest.mark.slow
@pytest.mark.parametrize("method", ["kimi", "diet"])
def test_methods_train(make_trainer, method):
    own = {"kimi": {"warmup_steps": 0}, "diet": {}}[method]
    trainer = make_trainer(method=method, method_settings=own, **FAST)
    trainer.train()
    row = last_log(trainer)
    assert torch.isfinite(torch.tensor(row["grad_norm"]))
    assert row["grad_norm"] > 0
    assert row["attnpo/gamma"] == 1.0


NEWER = {
    "dler": {"limit": 100, "resample_groups": 1},
    "da_dler": {"limit": 100, "easy_limit": 60, "resample_groups": 1},
    "siri": {"longest": 120, "shortest": 60, "cycle_steps": 2},
    "ddca": {},
    "gr3": {},
    "shorterbetter": {"price": 0.02},
    "smartthinker": {},
    "arlcp": {"word_bounds": [1, 2]},
    "leash": {"target_length": 40},
    "gfpo": {"keep": 3},
    "dot": {"deviations": 0.5, "margin": 2, "resample_groups": 1},
    "drpo": {},
    "sas": {"limit": 100},
    "step_grpo": {"answer_tokens": 24, "sure": 0.5},
}


@pytest.mark.slow
@pytest.mark.parametrize("method", NEWER)
def test_newer_methods_train(make_trainer, method):
    trainer = make_trainer(method=method, method_settings=NEWER[method], max_steps=2, save_rollouts=True, **FAST)
    seen = watched(trainer)
    trainer.train()
    assert trainer.state.global_step == 2
    assert {groups.progress_step for groups in seen} == {0, 1}
    rows = [row for row in trainer.state.log_history if "grad_norm" in row]
    assert all(torch.isfinite(torch.tensor(row["grad_norm"])) for row in rows)
    assert sum(row["grad_norm"] for row in rows) > 0
    assert all(rollout.n_tokens for rollout in read_rollouts(trainer.rollouts_path))
    json.dumps(trainer.credit.state_dict())


def test_flags_go_before_a_presets_settings_and_those_before_published_ones(tmp_path):
    plain = config(tmp_path, difficulty_schedule=None)
    assert plain.credit_settings() == CreditSettings(seed=plain.seed)
    assert (plain.alpha_len, plain.difficulty_schedule, plain.advantage) == (0.2, True, "rloo")
    only = config(tmp_path, method="attnpo-pa-only", lam=1.0)
    assert only.negative_attenuation is False
    assert only.lam == 1.0
    both = config(tmp_path, method="attnpo-pa-only", negative_attenuation=True)
    assert both.credit_settings().negative_attenuation is True
    own = config(tmp_path, method="attnpo-pa-only", lam=1.0, method_settings='{"lam": 3, "num_heads": 1}')
    assert own.credit_settings().lam == 3
    assert own.credit_settings().num_heads == 1
    # flags that the method does not have are passed over: arms share a recipe
    tlmre = config(tmp_path, method="tlmre-published", schedule_steps=5)
    assert tlmre.credit_settings() == LengthTermSettings(alpha_len=0.1, seed=tlmre.seed)
    thinkprune = config(tmp_path, method="thinkprune", method_settings={"limits": [9]}, alpha_len=0.3)
    assert (thinkprune.advantage, thinkprune.scale_advantages) == ("grpo", True)
    assert config(tmp_path, method="grpo-std").credit_settings().scale_advantages is True


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"method": "laser"}, r"^target_length: 4096 is above the response limit of 192 tokens"),
        ({"method": "laser", "method_settings": {"goal": 1}}, r"^goal: method 'laser' has no such setting"),
        ({"method": "laser", "method_settings": '{"goal": '}, r"^method_settings: '.*' is not JSON \("),
        ({"method": "laser", "method_settings": "[1]"}, r"^method_settings: \[1\] holds no settings by name"),
        ({"method": "kimi", "alpha_len": 3}, r"^alpha_len: 3 is not allowed"),
        ({"method": "attnpo-zero-heads"}, r"^method: 'attnpo-zero-heads' is unknown"),
    ],
)
def test_mistakes_are_one_line_before_anything_is_loaded(tmp_path, settings, words):
    with pytest.raises(ConfigError, match=words):
        config(tmp_path, **settings)
