"""How much of everything `attnpo reproduce` spends, alike for every cell."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from attnpo.errors import ConfigError
from attnpo.ranges import AtLeast0, AtLeast1, Count, SummedTokensOrNone, check_settings
from attnpo.study.arms import TRAINING


@dataclass(frozen=True)
class Sizes:
    """How much of everything, alike for every cell.

    Attributes:
        max_sampled_tokens: tokens that a training run may sample; 0 where `max_steps` alone ends it.
        max_steps: optimizer steps that a run may take.
        responses: responses an optimizer step.
        schedule_steps: T of AttnPO's schedule (Eq. 8), in optimizer steps.
        learning_rate: at the start of a run.
        num_eval: held-out problems to measure on.
        num_probe: problems that heads are looked for on, 8 responses each.
        training: further training flags of every cell.
    """

    max_sampled_tokens: SummedTokensOrNone = 160_000
    max_steps: AtLeast1 = 200
    responses: AtLeast1 = 64
    schedule_steps: Count = 5
    learning_rate: AtLeast0 = 5e-4
    num_eval: AtLeast1 = 500
    num_probe: AtLeast1 = 400
    training: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        check_settings(self)
        rows = TRAINING["per_device_train_batch_size"]
        if self.responses < rows or self.responses % rows:
            raise ConfigError(f"--responses {self.responses}: give a multiple of {rows}, the rows of a micro-batch")

    @property
    def limit(self) -> int:
        """Most tokens that a response may have while training."""
        return int({**TRAINING, **self.training}["max_completion_length"])

    @property
    def train_flags(self) -> dict[str, Any]:
        """Training flags that differ from those of the quickstart."""
        budget = {"max_sampled_tokens": self.max_sampled_tokens} if self.max_sampled_tokens else {}
        steps = self.responses // TRAINING["per_device_train_batch_size"]
        return {
            "gradient_accumulation_steps": steps,
            "schedule_steps": self.schedule_steps,
            "learning_rate": self.learning_rate,
            **budget,
            **self.training,
        }
