"""Credit that judges steps, splits the advantage or deletes steps, inside the trainer on the small world."""

from __future__ import annotations

import pytest
import torch

from attnpo.credit import StepBatch
from attnpo.rollouts import read_rollouts

SPLIT = "benchmarks.hypotheses.split:SplitCredit"
PRESSURE = "benchmarks.hypotheses.pressure:RedundantPressure"
SPLIT_ORACLE = "benchmarks.hypotheses.split:SplitOracle"
SPLIT_CAUSAL = "benchmarks.hypotheses.causal:SplitCausal"
KEPT_SUM_ORACLE = "benchmarks.hypotheses.kept_sum:KeptSumOracle"
BEFORE_ERROR = "benchmarks.hypotheses.before_error:BeforeError"
TINY = {"per_device_train_batch_size": 8, "gradient_accumulation_steps": 1, "max_completion_length": 128}
METHODS = {
    SPLIT: {},
    PRESSURE: {"to_go": True},
    SPLIT_ORACLE: {"pressure": "redundant", "token_price": 0.01},
    SPLIT_CAUSAL: {"measured_share": 0.5},
    KEPT_SUM_ORACLE: {"schedule": False},
    BEFORE_ERROR: {"error_finder": "attnpo.tinyworld.oracle:first_error"},
}


def watched(trainer) -> list[tuple[StepBatch, torch.Tensor, torch.Tensor]]:
    """What is spread, and the advantages that come of it."""
    seen = []
    inner = trainer.credit.spread

    def spy(steps, gamma, index):
        seen.append((steps, gamma, inner(steps, gamma, index)))
        return seen[-1][-1]

    trainer.credit.spread = spy
    return seen


def last_log(trainer) -> dict[str, float]:
    return next(row for row in reversed(trainer.state.log_history) if "attnpo/accuracy" in row)


@pytest.mark.parametrize("name", METHODS)
def test_two_steps_train(make_trainer, name):
    trainer = make_trainer(method=name, method_settings=METHODS[name], max_steps=2, save_rollouts=True, **TINY)
    seen = watched(trainer)
    before = [parameter.detach().clone() for parameter in trainer.model.parameters()]
    trainer.train()
    assert any(not torch.equal(a, b) for a, b in zip(before, trainer.model.parameters(), strict=True))
    rows = [row for row in trainer.state.log_history if "attnpo/accuracy" in row]
    assert all(torch.isfinite(torch.tensor(row["grad_norm"])) for row in rows)
    assert any(row["grad_norm"] > 0 for row in rows)
    assert all(advantages.isfinite().all() for *_, advantages in seen)
    assert any(((gamma != 1) & steps.owned_BK).any() for steps, gamma, _ in seen) or name == PRESSURE
    costs = name in (PRESSURE, SPLIT_CAUSAL)
    assert (rows[-1]["attnpo/extra_pass_tokens"] > 0) == costs
    rollouts = list(read_rollouts(trainer.rollouts_path))
    if name == SPLIT_CAUSAL:
        effects = torch.cat([steps.step_values["deletion_effect"].flatten() for steps, *_ in seen])
        assert effects.abs().max() > 1
    if name == PRESSURE:  # one pass over everything
        assert rows[-1]["attnpo/extra_pass_tokens"] > sum(rollout.n_tokens for rollout in rollouts)


def test_pressure_by_deletion(make_trainer):
    settings = {"pressure": "redundant", "measured_share": 1.0}
    trainer = make_trainer(method=SPLIT_CAUSAL, method_settings=settings, **TINY)
    seen = watched(trainer)
    trainer.train()
    assert any(steps.facts["length_advantage"].any() for steps, *_ in seen)
    assert last_log(trainer)["grad_norm"] > 0


def test_scores_before_rewards_are_those_of_the_loss_pass(make_trainer, model):
    start = {name: value.clone() for name, value in model.state_dict().items()}
    found = {}
    for name in ("attnpo", PRESSURE):
        model.load_state_dict(start)
        trainer = make_trainer(method=name, **TINY)
        seen = watched(trainer)
        trainer.train()
        found[name] = {
            int(row): (steps.scores_BK[place][steps.owned_BK[place]], advantages[place])
            for steps, _, advantages in seen
            for place, row in enumerate(steps.row_ids_B)
        }
    assert set(found[PRESSURE]) == set(range(8))
    for row, (scores, _) in found["attnpo"].items():
        torch.testing.assert_close(found[PRESSURE][row][0], scores, atol=1e-5, rtol=1e-4)


def test_trls_own_pass_serves_where_there_is_one(make_trainer):
    trainer = make_trainer(method=PRESSURE, num_iterations=2, **TINY)
    seen = watched(trainer)
    trainer.train()
    assert last_log(trainer)["attnpo/extra_pass_tokens"] == 0
    assert seen[0][0].scores_BK.any()


def test_rows_without_an_advantage_of_their_own_are_kept(make_trainer):
    trainer = make_trainer(method=SPLIT, **TINY)
    trainer.credit.advantages = lambda rewards, groups=None: torch.zeros_like(rewards)
    seen = watched(trainer)
    trainer.train()
    assert sum(len(steps.row_ids_B) for steps, *_ in seen) == 8
    assert last_log(trainer)["grad_norm"] > 0
