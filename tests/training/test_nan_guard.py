from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch
from transformers import TrainerControl

from attnpo.errors import TrainingError
from attnpo.training.nan_guard import NanGuardCallback


def setup(most: int = 3):
    model = torch.nn.Linear(2, 1)
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.1)
    guard = NanGuardCallback(most, lambda tensor: tensor, lambda: "runs/a/checkpoint-4")
    return model, optimizer, guard


def step(model, optimizer, guard, number: int, factor: float) -> None:
    (model(torch.ones(1, 2)).sum() * factor).backward()
    state = SimpleNamespace(global_step=number - 1, is_world_process_zero=True, max_steps=99)
    guard.on_pre_optimizer_step(None, state, TrainerControl(), model=model, optimizer=optimizer)
    optimizer.step()
    model.zero_grad()
    guard.on_step_end(None, SimpleNamespace(global_step=number), TrainerControl())


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -float("inf")])
def test_a_bad_update_leaves_parameters_and_moments_as_they_were(bad):
    model, optimizer, guard = setup()
    step(model, optimizer, guard, 1, 1.0)
    before = [p.clone() for p in model.parameters()]
    moments = [optimizer.state[p]["exp_avg"].clone() for p in model.parameters()]
    step(model, optimizer, guard, 2, bad)
    assert all(torch.equal(a, b) for a, b in zip(before, model.parameters(), strict=True))
    assert all(torch.equal(a, optimizer.state[p]["exp_avg"]) for a, p in zip(moments, model.parameters(), strict=True))
    assert (guard.skipped, guard.skipped_in_a_row) == (1, 1)
    step(model, optimizer, guard, 3, 1.0)
    assert not torch.equal(before[0], next(model.parameters()))
    assert (guard.skipped, guard.skipped_in_a_row) == (1, 0)


def test_another_process_with_a_bad_gradient_makes_this_one_skip_too():
    model, optimizer, guard = setup()
    guard.reduce_sum = lambda tensor: tensor + 1
    before = [p.clone() for p in model.parameters()]
    step(model, optimizer, guard, 1, 1.0)
    assert all(torch.equal(a, b) for a, b in zip(before, model.parameters(), strict=True))


def test_several_in_a_row_end_the_run_and_name_the_checkpoint():
    model, optimizer, guard = setup(most=2)
    step(model, optimizer, guard, 5, float("nan"))
    with pytest.raises(TrainingError, match=r"steps 5 to 6: .* last good checkpoint: runs/a/checkpoint-4"):
        step(model, optimizer, guard, 6, float("nan"))


def test_the_counts_travel_with_the_checkpoint():
    _, _, guard = setup()
    guard.skipped, guard.skipped_in_a_row = 5, 2
    saved = {"NanGuardCallback": guard.state()}
    _, _, fresh = setup()
    fresh.on_train_begin(None, SimpleNamespace(global_step=9, stateful_callbacks=saved), TrainerControl())
    assert (fresh.skipped, fresh.skipped_in_a_row) == (5, 2)
    fresh.on_train_begin(None, SimpleNamespace(global_step=0, stateful_callbacks=saved), TrainerControl())
    assert (fresh.skipped, fresh.skipped_in_a_row) == (0, 0)
