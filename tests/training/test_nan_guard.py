from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch
from transformers import TrainerControl

from attnpo.errors import TrainingError
from attnpo.training.lasting import LongRun
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
    guard.on_step_end(None, SimpleNamespace(global_step=number), TrainerControl(), model=model)


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


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -float("inf")])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_weights_that_are_not_finite_end_the_run(bad, dtype):
    model, _, guard = setup()
    model = torch.nn.Sequential(model, torch.nn.Linear(2, 2)).to(dtype)
    guard.check_weights(model.parameters(), 3)
    with torch.no_grad():
        model[1].weight.fill_(1e30)  # large, and no error yet
        guard.check_weights(model.parameters(), 3)
        model[1].weight[0, 1] = bad
    with pytest.raises(TrainingError, match=r"^step 3: weights are not finite .*: runs/a/checkpoint-4; lower learning"):
        guard.check_weights(model.parameters(), 3)


def test_an_update_that_makes_such_weights_ends_the_run_at_its_step():
    model, optimizer, guard = setup()
    optimizer.param_groups[0]["lr"] = float("inf")
    with pytest.raises(TrainingError, match=r"^step 1: weights are not finite"):
        step(model, optimizer, guard, 1, 1.0)


def test_weights_of_another_process_count_too():
    model, _, guard = setup()
    guard.reduce_sum = lambda tensor: tensor + 1
    with pytest.raises(TrainingError, match="weights are not finite"):
        guard.check_weights(model.parameters(), 1)


def test_what_deepspeed_holds_of_an_empty_parameter_is_looked_at():
    _, _, guard = setup()
    sharded = torch.nn.Parameter(torch.empty(0))
    sharded.ds_tensor = torch.tensor([1.0, 2.0])
    guard.check_weights([sharded], 1)
    sharded.ds_tensor = torch.tensor([1.0, float("nan")])
    with pytest.raises(TrainingError, match="weights are not finite"):
        guard.check_weights([sharded], 1)


def under_deepspeed(applied: bool, norm: float | None, fp16: bool = False, most: int = 3) -> NanGuardCallback:
    """A guard beside an engine that says of each update whether it was made, and how long the gradient was."""
    engine = SimpleNamespace(
        was_step_applied=lambda: applied, get_global_grad_norm=lambda: norm, fp16_enabled=lambda: fp16
    )
    return NanGuardCallback(most, lambda tensor: tensor, lambda: "runs/a/checkpoint-4", deepspeed=lambda: engine)


def end_step(guard: NanGuardCallback, number: int) -> None:
    state = SimpleNamespace(global_step=number, is_world_process_zero=True, max_steps=99)
    guard.on_pre_optimizer_step(None, state, TrainerControl(), model=None, optimizer=None)
    guard.on_step_end(None, state, TrainerControl(), model=torch.nn.Linear(2, 1))


def test_what_deepspeed_skipped_is_counted_and_ends_the_run():
    guard = under_deepspeed(applied=False, norm=float("inf"), most=2)
    end_step(guard, 5)
    assert (guard.skipped, guard.skipped_in_a_row) == (1, 1)
    with pytest.raises(TrainingError, match=r"steps 5 to 6: the gradient was not finite, no update was made"):
        end_step(guard, 6)


def test_under_fp16_skipped_updates_find_the_loss_scale():
    guard = under_deepspeed(applied=False, norm=float("inf"), fp16=True, most=2)
    for number in range(1, 9):
        end_step(guard, number)
    assert (guard.skipped, guard.skipped_in_a_row) == (8, 0)


def scaled_step(model, optimizer, guard, number: int, factor: float, unscaled: bool) -> None:
    """A step of mixed precision in fp16, as transformers and accelerate make it, with or without clipping."""
    scaler = guard.scaler()
    scaler.scale(model(torch.ones(1, 2)).sum() * factor).backward()
    if unscaled:
        scaler.unscale_(optimizer)
    state = SimpleNamespace(global_step=number - 1, is_world_process_zero=True, max_steps=99)
    guard.on_pre_optimizer_step(None, state, TrainerControl(), model=model, optimizer=optimizer)
    scaler.step(optimizer)
    scaler.update()
    model.zero_grad()
    guard.on_step_end(None, SimpleNamespace(global_step=number), TrainerControl(), model=model)


@pytest.mark.parametrize("unscaled", [True, False])
def test_torchs_scaler_may_look_for_a_scale_longer_than_updates_may_be_skipped(unscaled):
    model, optimizer, guard = setup(most=2)
    scaler = torch.amp.GradScaler("cpu", init_scale=2.0**16)
    guard.scaler = lambda: scaler
    before = [p.clone() for p in model.parameters()]
    for number in range(1, 6):
        scaled_step(model, optimizer, guard, number, float("inf"), unscaled)
    assert (guard.skipped, guard.skipped_in_a_row) == (5, 5)
    assert all(torch.equal(a, b) for a, b in zip(before, model.parameters(), strict=True))
    assert scaler.get_scale() == 2.0**11
    scaled_step(model, optimizer, guard, 6, 1.0, unscaled)
    assert not torch.equal(before[0], next(model.parameters()))
    assert (guard.skipped, guard.skipped_in_a_row) == (5, 0)


def test_a_loss_that_no_scale_fits_ends_the_run():
    model, optimizer, guard = setup(most=2)
    scaler = torch.amp.GradScaler("cpu", init_scale=4.0)
    guard.scaler = lambda: scaler
    scaled_step(model, optimizer, guard, 1, 1.0, unscaled=True)
    scaled_step(model, optimizer, guard, 2, float("nan"), unscaled=True)
    scaled_step(model, optimizer, guard, 3, float("nan"), unscaled=True)
    with pytest.raises(
        TrainingError,
        match=r"^steps 2 to 4: the gradient was not finite at any loss scale down to 0.5, .* good checkpoint: "
        r"runs/a/checkpoint-4; train in bf16, lower learning_rate",
    ):
        scaled_step(model, optimizer, guard, 4, float("nan"), unscaled=True)


def test_a_scaler_that_is_off_is_none():
    model, optimizer, guard = setup(most=2)
    guard.scaler = lambda: torch.amp.GradScaler("cpu", enabled=False)
    step(model, optimizer, guard, 5, float("nan"))
    with pytest.raises(TrainingError, match="allow more such steps with max_skipped_updates"):
        step(model, optimizer, guard, 6, float("nan"))


@pytest.mark.parametrize("norm", [-1.0, float("nan"), float("inf")])
def test_a_bad_update_that_deepspeed_made_ends_the_run_at_once(norm):
    with pytest.raises(TrainingError, match=r"step 7: .* the weights are lost; .*checkpoint-4; set bf16.check_grad"):
        end_step(under_deepspeed(applied=True, norm=norm), 7)


@pytest.mark.parametrize("norm", [None, 0.0, 3.5])
def test_a_good_update_of_deepspeed_passes(norm):
    guard = under_deepspeed(applied=True, norm=norm)
    guard.skipped_in_a_row = 2
    end_step(guard, 7)
    assert guard.skipped_in_a_row == 0


def test_deepspeeds_own_end_under_fp16_is_one_line(tmp_path, monkeypatch):
    scaling = pytest.importorskip("deepspeed.runtime.fp16.loss_scaler")
    monkeypatch.setattr(scaling.dist, "get_rank", lambda: 0)
    scaler = scaling.DynamicLossScaler(
        2.0, scale_window=9, min_scale=1.0, delayed_shift=1, consecutive_hysteresis=False
    )
    trainer = SimpleNamespace(state=SimpleNamespace(global_step=4), args=SimpleNamespace(output_dir=tmp_path))
    run = LongRun.__new__(LongRun)
    run.trainer = trainer
    with run.named_end_of_scales():
        scaler.update_scale(True)  # from 2 to 1
    said = r"step 5: .* down to DeepSpeed's least .* checkpoint: none yet"
    with pytest.raises(TrainingError, match=said), run.named_end_of_scales():
        scaler.update_scale(True)
    with pytest.raises(ValueError, match="loss scale already at minimum"), run.named_end_of_scales():
        raise ValueError("loss scale already at minimum")
