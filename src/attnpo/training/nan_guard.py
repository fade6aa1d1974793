"""Updates whose gradient is not finite are skipped and counted; several in a row, or such weights, end the run."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from typing import Any, Final

import torch
from torch.distributed.tensor import DTensor
from torch.nn.utils import get_total_norm
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments
from transformers.trainer_callback import ExportableState

from attnpo.errors import TrainingError

log = logging.getLogger(__name__)

LEAST_SCALE: Final = 1.0
"""Least loss scale of fp16 (DeepSpeed's too): gradients that are not finite even below it are no matter of the type."""

NO_SCALE_LEFT: Final = "loss scale already at minimum"
"""What DeepSpeed says, in an `Exception` of no type of its own, where not even its least loss scale fits."""


def says_no_scale_left(error: Exception) -> bool:
    """Whether an error is DeepSpeed's at the end of its loss scales under fp16."""
    return type(error) is Exception and NO_SCALE_LEFT in str(error)


class NanGuardCallback(TrainerCallback, ExportableState):
    """Looks at the gradient between backward pass and update, and at the weights after it.

    A loss that is NaN or infinite makes the gradient so. The update is skipped on all processes (neither parameters nor
    the optimizer's moments change), the learning rate's schedule goes on (under torch's scaler it waits). DeepSpeed
    makes the update inside accelerate's backward pass and skips it by a check of its own: what it says is counted.
    Under fp16 updates are skipped until the loss scale fits, by torch's scaler or DeepSpeed's, so there a row of them
    does not end the run, unless torch's is below `LEAST_SCALE` by then.

    A finite gradient can still make weights that are not (a learning rate too high, an overflow of the type). The run
    then ends at once, before a checkpoint of them is written, so that every checkpoint is a good one.

    Args:
        most_in_a_row: the run ends at this many skipped updates in a row.
        reduce_sum: sums a tensor over processes.
        last_checkpoint: names the newest whole checkpoint, None where there is none.
        deepspeed: returns DeepSpeed's engine, None where another one trains.
        scaler: returns torch's scaler of the loss, None where there is none.
        on_update: told of each optimizer step whether its gradient was finite and not zero.
        skipped_in_a_row: skipped updates since the last good one.
        skipped: skipped updates of the run.
    """

    def __init__(
        self,
        most_in_a_row: int,
        reduce_sum: Callable[[torch.Tensor], torch.Tensor],
        last_checkpoint: Callable[[], str | None],
        skipped_in_a_row: int = 0,
        skipped: int = 0,
        deepspeed: Callable[[], Any] = lambda: None,
        on_update: Callable[[bool], None] = lambda has_gradient: None,
        scaler: Callable[[], Any] = lambda: None,
    ) -> None:
        self.most_in_a_row = most_in_a_row
        self.reduce_sum = reduce_sum
        self.last_checkpoint = last_checkpoint
        self.deepspeed = deepspeed
        self.scaler = scaler
        self.on_update = on_update
        self.skipped_in_a_row = skipped_in_a_row
        self.skipped = skipped

    def state(self) -> dict[str, Any]:
        """Return what transformers writes into the checkpoint."""
        return {"args": {}, "attributes": {"skipped_in_a_row": self.skipped_in_a_row, "skipped": self.skipped}}

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Go on from the checkpoint's counts."""
        saved = (state.stateful_callbacks or {}).get(type(self).__name__)
        counts = saved.get("attributes", {}) if isinstance(saved, dict) and state.global_step > 0 else {}
        self.skipped_in_a_row = int(counts.get("skipped_in_a_row", 0))
        self.skipped = int(counts.get("skipped", 0))

    def on_pre_optimizer_step(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Skip the update where the gradient is not finite: without gradients it changes nothing."""
        if self.deepspeed() is not None:
            return  # the update is made already
        gradients = [each.grad for each in kwargs["model"].parameters() if each.grad is not None]
        norm = self._norm(gradients)
        if self._is_finite(norm):
            self.skipped_in_a_row = 0
            self.on_update(bool(norm > 0))
            return
        if self._loss_scale() is None:  # else the scaler skips the update, and has to see why to lower the scale
            kwargs["optimizer"].zero_grad(set_to_none=True)
        self._note_skipped(state.global_step + 1, state.is_world_process_zero)

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        """End the run after too many skipped updates.

        Raises:
            TrainingError: there were `most_in_a_row` in a row, DeepSpeed made one that it should have skipped, or the
                update made weights that are not finite.
        """
        engine = self.deepspeed()
        if engine is not None:
            self._look_at_deepspeed(engine, state)
        if self.skipped_in_a_row == 0:  # a skipped update leaves the weights as they were
            self.check_weights(kwargs["model"].parameters(), state.global_step)
        scale = self._loss_scale()
        if self.skipped_in_a_row < self.most_in_a_row or (scale is not None and scale >= LEAST_SCALE):
            return
        last, first = self.last_checkpoint(), state.global_step - self.skipped_in_a_row + 1
        tried = "" if scale is None else f" at any loss scale down to {scale:g}"
        instead = "" if scale is None else "train in bf16, "
        raise TrainingError(
            f"steps {first} to {state.global_step}: the gradient was not finite{tried}, "
            f"no update was made; last good checkpoint: {last or 'none yet'}; {instead}lower learning_rate, look at "
            "the rewards, or allow more such steps with max_skipped_updates"
        )

    def check_weights(self, parameters: Iterable[torch.nn.Parameter], step: int) -> None:
        """Check the weights of all processes.

        Raises:
            TrainingError: some are not finite.
        """
        # The largest magnitude alone: it carries NaN and infinity, overflows in no type and takes no memory.
        # DeepSpeed leaves a sharded parameter empty; what this process holds of it hangs on it.
        held = [getattr(parameter, "ds_tensor", parameter).detach() for parameter in parameters]
        if self._is_finite(self._norm([each for each in held if each.numel() > 0], float("inf"))):
            return
        raise TrainingError(
            f"step {step}: weights are not finite any more, they are not written; last good checkpoint: "
            f"{self.last_checkpoint() or 'none yet'}; lower learning_rate, then --resume_from_checkpoint true goes on "
            "from there"
        )

    def _look_at_deepspeed(self, engine: Any, state: TrainerState) -> None:
        norm = engine.get_global_grad_norm()
        if not engine.was_step_applied():
            self._note_skipped(state.global_step, state.is_world_process_zero)
        elif norm is not None and not 0.0 <= float(norm) < float("inf"):  # -1 is DeepSpeed's word for NaN and infinite
            raise TrainingError(
                f"step {state.global_step}: the gradient was not finite and DeepSpeed made the update, so the weights "
                f"are lost; last good checkpoint: {self.last_checkpoint() or 'none yet'}; set bf16.check_grad_overflow "
                "in its configuration, then the same command with --resume_from_checkpoint true goes on"
            )
        else:
            self.skipped_in_a_row = 0
            self.on_update(norm is None or float(norm) > 0)
        if engine.fp16_enabled():
            self.skipped_in_a_row = 0

    def _loss_scale(self) -> float | None:
        scaler = self.scaler()
        return float(scaler.get_scale()) if scaler is not None and scaler.is_enabled() else None

    def _note_skipped(self, step: int, is_first: bool) -> None:
        self.skipped_in_a_row += 1
        self.skipped += 1
        if is_first:
            log.warning("step %d: the gradient is not finite; update skipped", step)

    @staticmethod
    def _norm(tensors: list[torch.Tensor], order: float = 2.0) -> torch.Tensor:
        floating = [tensor for tensor in tensors if tensor.is_floating_point()]  # quantized weights are integers
        norm = get_total_norm(floating, order) if floating else torch.zeros(())
        return norm.full_tensor() if isinstance(norm, DTensor) else norm

    def _is_finite(self, norm: torch.Tensor) -> bool:
        return not bool(self.reduce_sum((~torch.isfinite(norm)).float()).item())
