"""Tokens that a run samples: counted, resumed, and where asked the measure of its length and learning rate."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any, Final

import torch
from torch.optim.lr_scheduler import LambdaLR
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments, get_scheduler
from transformers.trainer_callback import ExportableState

from attnpo.errors import ConfigError

_GRID: Final = 1_000_000
"""Steps that a schedule by tokens is cut into."""


@dataclass
class TokenCount:
    """Tokens of a run so far, over all processes once `reduced`.

    Attributes:
        sampled: drawn from the policy: responses, continuations, probes.
        extra: those of `sampled` that no trained response holds as drawn for it: probes, reference samples, responses
            of groups that were drawn again.
        passed: tokens read in forward passes that training would not make anyway.
    """

    sampled: int = 0
    extra: int = 0
    passed: int = 0

    def add(self, tokens: int, *, extra: bool = False) -> None:
        """Count drawn tokens."""
        self.sampled += tokens
        self.extra += tokens if extra else 0

    def take(self, other: TokenCount) -> None:
        """Add another count."""
        self.sampled += other.sampled
        self.extra += other.extra
        self.passed += other.passed

    def since(self, other: TokenCount) -> TokenCount:
        """Return what came after an earlier count."""
        return TokenCount(self.sampled - other.sampled, self.extra - other.extra, self.passed - other.passed)

    def reduced(self, reduce_sum: Callable[[torch.Tensor], torch.Tensor], device: torch.device) -> TokenCount:
        """Return the sum over processes."""
        totals = torch.tensor([self.sampled, self.extra, self.passed], device=device)
        return TokenCount(*reduce_sum(totals).tolist())

    def metrics(self) -> dict[str, float]:
        """Return the count under the names that it is logged by."""
        return {
            "sampled_tokens": float(self.sampled),
            "extra_tokens": float(self.extra),
            "extra_pass_tokens": float(self.passed),
        }


class TokenCountCallback(TrainerCallback, ExportableState):
    """Keeps the count in every checkpoint; ends the run once the budget is spent."""

    def __init__(self, count: TokenCount, budget: int | None) -> None:
        self.count, self.budget = count, budget

    def state(self) -> dict[str, Any]:
        """Return what transformers writes into the checkpoint."""
        return {"args": {}, "attributes": asdict(self.count)}

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Go on from the checkpoint's count.

        Raises:
            ConfigError: the run has a budget and the checkpoint holds no count.
        """
        if state.global_step == 0:
            return
        saved = (state.stateful_callbacks or {}).get(type(self).__name__)
        if isinstance(saved, dict):
            for name, value in saved["attributes"].items():
                setattr(self.count, name, value)
        elif self.budget is not None:
            raise ConfigError(
                "resume_from_checkpoint: it does not say how many tokens were sampled, which max_sampled_tokens needs; "
                "start anew, or take max_sampled_tokens away"
            )

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        """Stop once the budget is spent."""
        if self.budget is not None and self.count.sampled >= self.budget:
            control.should_training_stop = True


class CourseCallback(TrainerCallback):
    """Keeps models on the way, at equal shares of the budget.

    Args:
        count: what was sampled; where a run goes on, its own callback has restored it before.
        budget: tokens of the run.
        number: how many models.
        keep: keeps the model under a number from 1.
    """

    def __init__(self, count: TokenCount, budget: int, number: int, keep: Callable[[int], None]) -> None:
        self.count, self.budget, self.number, self.keep = count, budget, number, keep
        self.kept = 0

    @property
    def passed(self) -> int:
        """How many of the shares are spent."""
        return min(self.number, (self.number + 1) * self.count.sampled // self.budget)

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Go on behind those that were kept before."""
        self.kept = self.passed

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        """Keep the model where a share was passed."""
        while self.kept < self.passed:
            self.kept += 1
            self.keep(self.kept)


def token_schedule(
    optimizer: torch.optim.Optimizer,
    name: str,
    spent: Callable[[], float],
    warmup_steps: int,
    kwargs: dict[str, Any] | None = None,
) -> LambdaLR:
    """Return a learning rate that follows a schedule of transformers by the share of the budget that is spent.

    Args:
        optimizer: whose learning rate it is.
        name: the schedule: linear, cosine, constant, ...
        spent: share of the token budget spent so far; 1 is its end.
        warmup_steps: optimizer steps of linear warm-up before it.
        kwargs: the schedule's own settings.

    Raises:
        ConfigError: the schedule is not a function of how far the run has come.
    """
    stand_in = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1.0)
    schedule = get_scheduler(name, stand_in, 0, _GRID, scheduler_specific_kwargs=kwargs)
    if not isinstance(schedule, LambdaLR):
        raise ConfigError(f"lr_scheduler_type: {name} cannot follow max_sampled_tokens; use linear, cosine or constant")
    shape = schedule.lr_lambdas[0]

    def factor(step: int) -> float:
        if step < warmup_steps:
            return step / warmup_steps
        return float(shape(min(_GRID, int(spent() * _GRID))))

    return LambdaLR(optimizer, factor)
