"""Settings of a cold start: everything TRL's `SFTConfig` has, with defaults for few rows and adapters."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any, ClassVar

import torch
from trl import SFTConfig

from attnpo.errors import ConfigError
from attnpo.gsmworld.traces import TraceStyle
from attnpo.ranges import AT_LEAST_1, Count, Range, check_settings, shares_by_name
from attnpo.training.adapters import AdapterSettings
from attnpo.training.inherited_ranges import INHERITED_RANGES


@dataclass
class ColdStartAdapters(AdapterSettings):
    """TRL's settings of LoRA; adapters are trained unless `use_peft` is false."""

    use_peft: bool = field(
        default=True, metadata={"help": "Train LoRA adapters (needs the extra peft); else all weights."}
    )
    lora_r: int = field(default=8, metadata={"help": "Rank of the adapters."})
    lora_alpha: int = field(default=32, metadata={"help": "Scale of the adapters."})

    def __post_init__(self) -> None:
        """Check the settings against each other.

        Raises:
            ConfigError: they contradict each other, or the weights would be held quantised.
        """
        super().__post_init__()
        if self.quantised is not None:
            raise ConfigError(f"{self.quantised}: a cold start learns above whole weights; leave it out")


@dataclass
class ColdStartConfig(SFTConfig):
    """TRL's `SFTConfig`; differs from it in its defaults, and in what the traces are like."""

    INHERITED_RANGES: ClassVar[Mapping[str, Range]] = {
        **{entry.name: INHERITED_RANGES[entry.name] for entry in fields(SFTConfig) if entry.name in INHERITED_RANGES},
        "dataset_num_proc": AT_LEAST_1,
        "max_length": AT_LEAST_1,
    }

    style: dict[str, float] | str | None = field(
        default=None,
        metadata={
            "help": "How often traces take which detour, where it differs from the default, as JSON: "
            '\'{"check": 0.8, "slip": 0.1}\'; ' + ", ".join(entry.name for entry in fields(TraceStyle)) + "."
        },
    )
    equation_rows: Count = field(
        default=0,
        metadata={
            "help": "Rows that come first of all: the problems' equations alone, of which the values are learnt. For "
            "small models that lack sums: many in few tokens."
        },
    )
    plain_rows: Count = field(
        default=0,
        metadata={
            "help": "Traces that come next, without detours: short rows teach how to solve, the others to think."
        },
    )

    # Defaults that differ from SFTConfig
    learning_rate: float = field(default=1e-3, metadata={"help": "Initial learning rate of AdamW."})
    lr_scheduler_type: str = field(
        default="warmup_stable_decay",
        metadata={"help": "Schedule of the rate; by default it falls in the last third, so that a run may go on."},
    )
    warmup_steps: float = field(default=10, metadata={"help": "Steps until the rate is reached."})
    adam_beta2: float = field(default=0.98, metadata={"help": "Second decay rate of AdamW."})
    num_train_epochs: float = field(default=1.0, metadata={"help": "Times that each trace is seen."})
    per_device_train_batch_size: int = field(default=5, metadata={"help": "Traces a pass."})
    gradient_accumulation_steps: int = field(default=2, metadata={"help": "Passes a step."})
    gradient_checkpointing: bool = field(default=False, metadata={"help": "Save memory for time."})
    train_sampling_strategy: str = field(
        default="sequential",
        metadata={"help": "Order: sequential takes batches of like length in an order that a resumed run repeats."},
    )
    logging_steps: float = field(default=5, metadata={"help": "Steps between two lines of the log."})
    save_steps: float = field(default=20, metadata={"help": "Steps between two checkpoints."})
    save_total_limit: int | None = field(default=2, metadata={"help": "Checkpoints that are kept."})

    def __post_init__(self) -> None:
        """Validate what can be validated before a model is loaded.

        Raises:
            ConfigError: a setting is out of range, or `style` names no detour.
        """
        check_settings(self)
        if vars(self)["bf16"] is None and not torch.accelerator.is_available():
            self.bf16 = False
        self.completion_only_loss = True
        super().__post_init__()
        self.trace_style()

    def trace_style(self) -> TraceStyle:
        """Return how often the traces take which detour.

        Raises:
            ConfigError: `style` is no JSON object, names no detour, or holds what is no share.
        """
        names = [entry.name for entry in fields(TraceStyle)]
        return TraceStyle(**shares_by_name("style", self.style, names, ("check_again",)))

    def schedule(self, steps: int) -> dict[str, Any]:
        """Return the arguments of the default schedule for a run of `steps` steps."""
        return {"num_decay_steps": max(steps // 3, 1), "min_lr_ratio": 0.05}
