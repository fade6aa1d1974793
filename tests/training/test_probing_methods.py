"""Methods that sample more than free responses, inside the trainer on the small world."""

from __future__ import annotations

import pytest
import torch
from small_training import config

from attnpo.credit import StepBatch
from attnpo.errors import ConfigError
from attnpo.rollouts import read_rollouts

CLOSING = "\n</think>\n\n"
SETTINGS = {
    "sgrpo": {"closing": CLOSING, "answer_tokens": 32},
    "vsrm": {"closing": CLOSING, "num_answers": 2, "answer_tokens": 32, "unanswered_reward": 0, "reward_at": "end"},
    "shape": {"num_answers": 2, "answer_tokens": 32, "num_segments": 3, "reference_length": 32},
}
TINY = {"per_device_train_batch_size": 8, "gradient_accumulation_steps": 1, "max_completion_length": 128, "heads": None}


def watched(trainer) -> list[tuple[StepBatch, torch.Tensor, torch.Tensor]]:
    """The responses whose credit is spread: what the method is given, steps of tokens, advantages."""
    seen: list[tuple[StepBatch, torch.Tensor, torch.Tensor]] = []
    inner = trainer.credit.spread

    def spy(steps, gamma, index):
        found = inner(steps, gamma, index)
        seen.append((steps, index, found))
        return found

    trainer.credit.spread = spy
    return seen


def trained(make_trainer, name, steps=2):
    trainer = make_trainer(method=name, method_settings=SETTINGS[name], max_steps=steps, save_rollouts=True, **TINY)
    seen = watched(trainer)
    before = [parameter.detach().clone() for parameter in trainer.model.parameters()]
    trainer.train()
    assert any(not torch.equal(a, b) for a, b in zip(before, trainer.model.parameters(), strict=True))
    rows = [row for row in trainer.state.log_history if "attnpo/accuracy" in row]
    assert len(rows) == steps
    assert all(torch.isfinite(torch.tensor(row["grad_norm"])) for row in rows)
    assert any(row["grad_norm"] > 0 for row in rows)
    return trainer, seen, rows, list(read_rollouts(trainer.rollouts_path))


def test_sgrpo_trains_on_serial_groups(make_trainer, tokenizer):
    _, seen, rows, rollouts = trained(make_trainer, "sgrpo")
    closing = tokenizer(CLOSING, add_special_tokens=False)["input_ids"]
    number_of_exits = 0
    drawn = 0
    for step, (steps, _, advantages) in enumerate(seen):
        spans = list(zip(*(steps.facts[name].int().tolist() for name in ("forced_start", "forced_end")), strict=True))
        for row, (start, end) in enumerate(spans):
            path, rollout = rollouts[8 * step + row // 4 * 4 + 3], rollouts[8 * step + row]
            if (start, end) == (0, 0):
                assert rollout.response_ids == path.response_ids
                drawn += len(path.response_ids) if row % 4 == 3 else 0
                continue
            number_of_exits += 1
            assert rollout.response_ids[:start] == path.response_ids[:start]
            assert list(rollout.response_ids[start:end]) == closing
            assert not advantages[row, start:end].any()
            rest = torch.cat([advantages[row, :start], advantages[row, end : len(rollout.response_ids)]])
            assert (rest == steps.advantages_B[row]).all()
            drawn += len(rollout.response_ids) - end
        for group in steps.advantages_B.view(-1, 4):
            assert float(group.sum()) == pytest.approx(0, abs=1e-5)
    assert number_of_exits >= 6
    # paths and answers are what was sampled: neither copies nor closings count
    assert rows[-1]["attnpo/sampled_tokens"] == drawn
    assert rows[-1]["attnpo/extra_tokens"] == 0


def test_vsrm_gives_steps_their_own_reward(make_trainer):
    _, seen, rows, rollouts = trained(make_trainer, "vsrm")
    free = sum(len(rollout.response_ids) for rollout in rollouts)
    assert rows[-1]["attnpo/extra_tokens"] > 0
    assert rows[-1]["attnpo/sampled_tokens"] == free + rows[-1]["attnpo/extra_tokens"]
    earned_something = False
    for step, (steps, _, advantages) in enumerate(seen):
        earned = steps.step_values["step_reward"]
        assert earned.shape == steps.step_mask_BK.shape
        assert not earned[~steps.step_mask_BK].any()
        earned_something |= bool(earned.any())
        returns = []
        for row, rollout in enumerate(rollouts[8 * step : 8 * step + 8]):
            length = len(rollout.response_ids)
            ahead = [
                sum(float(earned[row, k]) for k, each in enumerate(rollout.steps) if each.tokens[1] - 1 >= place)
                for place in range(length)
            ]
            returns += [float(rollout.correct) + value for value in ahead]
        expected = torch.tensor(returns, dtype=torch.float64)
        expected = (expected - expected.mean()) / expected.std()
        lengths = steps.response_lengths_B.tolist()
        found = torch.cat([advantages[row, :length] for row, length in enumerate(lengths)])
        torch.testing.assert_close(found.double(), expected, atol=1e-4, rtol=1e-4)
    assert earned_something


def test_shape_weighs_tokens_by_entropy(make_trainer):
    _, seen, rows, rollouts = trained(make_trainer, "shape")
    assert rows[-1]["attnpo/extra_tokens"] > 0
    assert rows[-1]["attnpo/extra_pass_tokens"] > 0
    for step, (steps, _, advantages) in enumerate(seen):
        shaping, weight = steps.token_values["shaping"], steps.token_values["entropy_weight"]
        assert shaping.shape == weight.shape == advantages.shape
        for row, rollout in enumerate(rollouts[8 * step : 8 * step + 8]):
            length = len(rollout.response_ids)
            assert not advantages[row, length:].any()
            answer = slice(rollout.steps[-1].tokens[1], length)
            assert (advantages[row, answer] == float(rollout.correct)).all()
        inside = shaping != 0
        assert inside.any()
        assert 0.5 <= float(weight[inside].min()) < 1 < float(weight[inside].max()) <= 1.5


@pytest.mark.parametrize("name", ["sgrpo", "vsrm", "shape"])
def test_they_refuse_samplers_that_cannot_go_on_from_a_prefix(tmp_path, name):
    with pytest.raises(ConfigError, match="group_sampler"):
        config(tmp_path, method=name, group_sampler=False, heads=None)
