"""How much of everything `attnpo quickstart` and `attnpo reproduce` spend."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from attnpo.errors import ConfigError
from attnpo.ranges import AtLeast0, AtLeast1, Count, Seed, SummedTokensOrNone, check_settings
from attnpo.study.arms import TRAINING

Pairs = list[str]


@dataclass
class QuickstartSizes:
    """How much of everything a quickstart spends, and where results go."""

    output_dir: str = field(default="runs/quickstart", metadata={"help": "Folder of all results and report.html."})
    max_steps: AtLeast1 = field(default=32, metadata={"help": "Training steps of each method."})
    num_probe: AtLeast1 = field(
        default=160, metadata={"help": "Problems that heads are looked for on, 8 responses each."}
    )
    num_eval: AtLeast1 = field(default=500, metadata={"help": "Held-out problems that models are measured on."})
    num_traces: AtLeast1 = field(default=6, metadata={"help": "Problems whose traces the report shows."})
    jobs: AtLeast1 = field(default=2, metadata={"help": "Training runs side by side, one CPU thread each."})
    seed: Seed = field(default=0, metadata={"help": "Seed of sampling and training."})


@dataclass(frozen=True)
class Sizes:
    """How much of everything, alike for every cell of the comparison table.

    Raises:
        ConfigError: a number is out of range, `responses` fill no whole micro-batches, or a pair has another form.
    """

    max_sampled_tokens: SummedTokensOrNone = field(
        default=160_000,
        metadata={"help": "Tokens that each training run may sample, probes included; 0: max_steps alone ends it."},
    )
    max_steps: AtLeast1 = field(default=200, metadata={"help": "Optimizer steps that a training run may take."})
    responses: AtLeast1 = field(default=64, metadata={"help": "Responses an optimizer step, 8 to a problem."})
    schedule_steps: Count = field(default=5, metadata={"help": "T of AttnPO's schedule (Eq. 8), in optimizer steps."})
    learning_rate: AtLeast0 = field(default=5e-4, metadata={"help": "Initial learning rate, falling with the tokens."})
    num_eval: AtLeast1 = field(default=500, metadata={"help": "Held-out problems that every model is measured on."})
    num_probe: AtLeast1 = field(
        default=400, metadata={"help": "Problems that heads are looked for on, 8 responses each."}
    )
    training: Pairs = field(
        default_factory=list, metadata={"help": "Further flags of `attnpo train` for every cell, as NAME=VALUE."}
    )

    def __post_init__(self) -> None:
        check_settings(self)
        rows = TRAINING["per_device_train_batch_size"]
        if self.responses < rows or self.responses % rows:
            raise ConfigError(f"--responses {self.responses}: give a multiple of {rows}, the rows of a micro-batch")
        for pair in self.training:
            name, equals, _ = pair.partition("=")
            if not equals or not name:
                raise ConfigError(f"--training {pair}: give NAME=VALUE")

    @property
    def further(self) -> dict[str, str]:
        """The further training flags, by name."""
        return {name: value for name, _, value in (pair.partition("=") for pair in self.training)}

    @property
    def limit(self) -> int:
        """Most tokens that a response may have while training."""
        return int({**TRAINING, **self.further}["max_completion_length"])

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
            **self.further,
        }
