"""LC-R1, DECS and DEPO inside the trainer: two steps on the small world each."""

from __future__ import annotations

import pytest
import torch

from attnpo.rollouts import read_rollouts
from attnpo.tinyworld.oracle import describe_steps
from attnpo.tinyworld.problems import parse_question

FAST = {
    "per_device_train_batch_size": 8,
    "gradient_accumulation_steps": 1,
    "max_completion_length": 128,
    "heads": None,
    "max_steps": 2,
    "save_rollouts": True,
}


def spy(trainer) -> tuple[list, list]:
    """What `spread` was given, and what it returned."""
    given, returned, inner = [], [], trainer.credit.spread

    def spread(steps, gamma_BK, step_index_BT):
        given.append(steps)
        returned.append(inner(steps, gamma_BK, step_index_BT))
        return returned[-1]

    trainer.credit.spread = spread
    return given, returned


@pytest.mark.parametrize("method", ["lcr1", "decs", "depo"])
def test_two_steps(make_trainer, method):
    trainer = make_trainer(method=method, **FAST)
    before = {name: value.clone() for name, value in trainer.model.state_dict().items()}
    given, returned = spy(trainer)
    trainer.train()
    rows = [row for row in trainer.state.log_history if "attnpo/accuracy" in row]
    assert len(rows) == 2
    assert all(torch.isfinite(torch.tensor(row["grad_norm"])) for row in rows)
    assert all(row["attnpo/extra_tokens"] == 0 for row in rows)
    assert any(not torch.equal(value, before[name]) for name, value in trainer.model.state_dict().items())
    rollouts = list(read_rollouts(trainer.rollouts_path))
    assert any(rollout.correct for rollout in rollouts)
    assert torch.cat([advantages.flatten() for advantages in returned]).ne(0).any()
    {"lcr1": _check_cuts, "decs": _check_kappa, "depo": _check_parts}[method](trainer, given, rollouts)


def _check_cuts(trainer, given, rollouts):
    close = trainer.processing_class.convert_tokens_to_ids("</think>")
    facts = {name: torch.cat([steps.facts[name] for steps in given]) for name in given[0].facts}
    for rollout, tag, share in zip(rollouts, facts["closing_tag"], facts["compression"], strict=True):
        if rollout.correct:
            assert rollout.response_ids[int(tag)] == close
            assert share == -1 or 0 <= share < 1
        else:
            assert (tag, share) == (-1, 0)
    cut = [r for r, share in zip(rollouts, facts["compression"].tolist(), strict=True) if share > 0.1]
    assert cut
    for rollout in cut:  # nothing stands behind the step that says what the one asked about has
        question = rollout.prompt[-1]["content"]
        described = describe_steps(question, rollout.response, [step.chars for step in rollout.steps])
        assert parse_question(question).target in [name for name, _ in described[-1].claims]


def _check_kappa(trainer, given, rollouts):
    assert trainer.credit.state.share is not None
    assert trainer.state.log_history[0]["attnpo/kappa"] == pytest.approx(
        0.2 * (trainer.state.log_history[0]["attnpo/necessary_share"] - 0.5)
    )
    assert all(steps.facts["decs_from"].shape == (8, 4) for steps in given)


def _check_parts(trainer, given, rollouts):
    facts = {name: torch.cat([steps.facts[name] for steps in given]) for name in given[0].facts}
    for rollout, start, stop in zip(rollouts, facts["redundant_from"], facts["redundant_to"], strict=True):
        assert 0 <= start <= stop <= rollout.n_tokens
        assert rollout.correct or stop == 0
    assert facts["reflections"].max() > 0
