"""How much of everything `attnpo quickstart` and `attnpo reproduce` spend."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass, field
from typing import Any, ClassVar

from attnpo.errors import ConfigError
from attnpo.ranges import AtLeast0, AtLeast1, Count, Seed, SummedTokensOrNone, check_settings, restated

Pairs = list[str]
GROUP_SIZE = 8
"""Responses to a prompt while training."""
OWN_OF_MEASUREMENTS = ("model", "name", "num_problems", "output_dir")
"""Flags of a measurement that say which it is."""
PROBED = "Problems that heads are looked for on, 2 responses each."


@dataclass
class QuickstartSizes:
    """How much of everything a quickstart spends, and where results go."""

    output_dir: str = field(default="runs/quickstart", metadata={"help": "Folder of all results and report.html."})
    max_steps: Count = field(default=32, metadata={"help": "Training steps of each method; 0 trains none."})
    num_probe: AtLeast1 = field(
        default=160, metadata={"help": "Problems that heads are looked for on, 8 responses each."}
    )
    num_eval: AtLeast1 = field(default=500, metadata={"help": "Held-out problems that models are measured on."})
    num_causal: Count = field(
        default=0, metadata={"help": "Responses that heads are looked for on by causal labels as well."}
    )
    num_traces: AtLeast1 = field(default=6, metadata={"help": "Problems whose traces the report shows."})
    jobs: AtLeast1 = field(default=2, metadata={"help": "Training runs side by side, one CPU thread each."})
    seed: Seed = field(default=0, metadata={"help": "Seed of sampling and training."})

    def __post_init__(self) -> None:
        check_settings(self)


@dataclass
class GsmQuickstartSizes(QuickstartSizes):
    """The same for real English, where a training run is left out unless it is asked for."""

    output_dir: str = restated(QuickstartSizes, "output_dir", "runs/quickstart-gsm")
    max_steps: Count = restated(QuickstartSizes, "max_steps", 0)
    num_probe: AtLeast1 = field(default=80, metadata={"help": PROBED})
    num_causal: Count = restated(QuickstartSizes, "num_causal", 32)
    num_eval: AtLeast1 = restated(QuickstartSizes, "num_eval", 40)
    num_traces: AtLeast1 = restated(QuickstartSizes, "num_traces", 3)


@dataclass(frozen=True)
class Sizes:
    """How much of everything, alike for every cell of the comparison table.

    Raises:
        ConfigError: a number is out of range, `responses` fill no whole groups and micro-batches, or a pair has
            another form.
    """

    micro_batch: ClassVar[int] = 32
    """Responses a forward and backward pass."""

    max_sampled_tokens: SummedTokensOrNone = field(
        default=160_000,
        metadata={"help": "Tokens that each training run may sample, probes included; 0: max_steps alone ends it."},
    )
    max_steps: AtLeast1 = field(default=200, metadata={"help": "Optimizer steps that a training run may take."})
    responses: AtLeast1 = field(default=64, metadata={"help": "Responses an optimizer step, 8 to a problem."})
    schedule_steps: Count = field(default=5, metadata={"help": "T of AttnPO's schedule (Eq. 8), in optimizer steps."})
    learning_rate: AtLeast0 = field(default=5e-4, metadata={"help": "Initial learning rate, falling with the tokens."})
    num_eval: AtLeast1 = field(default=500, metadata={"help": "Held-out problems that every model is measured on."})
    num_unseen: Count = field(
        default=0, metadata={"help": "Problems of templates never trained on that every model is measured on, too."}
    )
    num_course: Count = field(
        default=0,
        metadata={
            "help": "Held-out problems that each run is measured on after a quarter, half and three quarters of its "
            "tokens; 0: not."
        },
    )
    num_probe: AtLeast1 = field(
        default=400, metadata={"help": "Problems that heads are looked for on, 8 responses each."}
    )
    training: Pairs = field(
        default_factory=list, metadata={"help": "Further flags of `attnpo train` for every cell, as NAME=VALUE."}
    )
    evaluation: Pairs = field(
        default_factory=list,
        metadata={"help": "Further flags of `attnpo evaluate` for every measurement, as NAME=VALUE."},
    )

    def __post_init__(self) -> None:
        check_settings(self)
        rows = math.lcm(self.micro_batch, GROUP_SIZE)
        if self.responses < rows or self.responses % rows:
            raise ConfigError(
                f"--responses {self.responses}: give a multiple of {rows}, whole groups and micro-batches"
            )
        for flag, pairs in (("training", self.training), ("evaluation", self.evaluation)):
            for pair in pairs:
                name, equals, _ = pair.partition("=")
                if not equals or not name:
                    raise ConfigError(f"--{flag} {pair}: give NAME=VALUE")
                if flag == "evaluation" and name in OWN_OF_MEASUREMENTS:
                    raise ConfigError(f"--evaluation {pair}: every measurement has its own {name}; leave it out")

    @property
    def further(self) -> dict[str, str]:
        """The further training flags, by name."""
        return _by_name(self.training)

    @property
    def further_evaluation(self) -> dict[str, Any]:
        """The further flags of measurements, by name; values as the worlds' own, 384 and not "384"."""
        return {name: _value(text) for name, text in _by_name(self.evaluation).items()}

    @property
    def train_flags(self) -> dict[str, Any]:
        """Training flags that differ from those of the quickstart."""
        budget = {"max_sampled_tokens": self.max_sampled_tokens} if self.max_sampled_tokens else {}
        return {
            "gradient_accumulation_steps": self.responses // self.micro_batch,
            "schedule_steps": self.schedule_steps,
            "learning_rate": self.learning_rate,
            **budget,
            **self.further,
        }


def _by_name(pairs: Pairs) -> dict[str, str]:
    return {name: text for name, _, text in (pair.partition("=") for pair in pairs)}


def _value(text: str) -> Any:
    """Return a value as JSON reads it, else the text."""
    try:
        return json.loads(text)
    except json.JSONDecodeError:
        return text


@dataclass(frozen=True)
class GsmSizes(Sizes):
    """The same for real English on CPU cores: 43 to 86 minutes of one a cell, two side by side."""

    micro_batch: ClassVar[int] = 4
    max_sampled_tokens: SummedTokensOrNone = restated(Sizes, "max_sampled_tokens", 0)
    max_steps: AtLeast1 = restated(Sizes, "max_steps", 24)
    responses: AtLeast1 = restated(Sizes, "responses", 32)
    schedule_steps: Count = restated(Sizes, "schedule_steps", 6)
    learning_rate: AtLeast0 = restated(Sizes, "learning_rate", 3e-4)
    num_eval: AtLeast1 = restated(Sizes, "num_eval", 200)
    num_unseen: Count = restated(Sizes, "num_unseen", 100)
    num_probe: AtLeast1 = field(default=192, metadata={"help": PROBED})
