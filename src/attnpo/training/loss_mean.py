"""The mean loss of a whole run; transformers' is of the part since the last start."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments
from transformers.trainer_callback import ExportableState


class LossMeanCallback(TrainerCallback, ExportableState):
    """Sums the losses of optimizer steps; the sum travels with the checkpoint.

    A step whose loss is not finite makes no update and does not count.

    Args:
        mean: means a tensor over processes.
        total: sum of the steps' losses so far.
        steps: how many steps it is of.
    """

    def __init__(
        self, mean: Callable[[torch.Tensor], torch.Tensor] = lambda tensor: tensor, total: float = 0.0, steps: int = 0
    ) -> None:
        self.mean_over_processes = mean
        self.total, self.steps = total, steps
        self._accumulated = torch.zeros(())

    @property
    def mean(self) -> float:
        """Mean loss a step; 0 before the first."""
        return self.total / max(self.steps, 1)

    def add(self, loss: torch.Tensor) -> None:
        """Add a micro-batch's loss, as it is accumulated."""
        self._accumulated = self._accumulated.to(loss.device) + loss.detach().float()

    def state(self) -> dict[str, Any]:
        """Return what transformers writes into the checkpoint."""
        return {"args": {}, "attributes": {"total": self.total, "steps": self.steps}}

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Go on from the checkpoint's sum."""
        saved = (state.stateful_callbacks or {}).get(type(self).__name__)
        sums = saved.get("attributes", {}) if isinstance(saved, dict) and state.global_step > 0 else {}
        self.total, self.steps = float(sums.get("total", 0.0)), int(sums.get("steps", 0))
        self._accumulated = torch.zeros(())

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        """Take the step's loss into the sum."""
        loss = float(self.mean_over_processes(self._accumulated).item())
        self._accumulated = torch.zeros_like(self._accumulated)
        if math.isfinite(loss):
            self.total, self.steps = self.total + loss, self.steps + 1
