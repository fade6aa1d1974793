"""Settings of causal labels."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, Literal

from attnpo.errors import ConfigError
from attnpo.ranges import AtLeast1, Count, Number, OpenShare, Range, Seed, Temperature, check_settings
from attnpo.sampling import SamplingParams

Target = Literal["answer", "boxed", "trace"]
Calibration = Literal["mixture", "otsu", "mirror"]


@dataclass
class CausalSettings:
    """How the effect of deleting a step is measured, and from which effect on a step counts as essential."""

    causal_target: Target = field(
        default="answer",
        metadata={
            "help": "What a deletion is felt by: 'answer': log-probability of the whole final answer; 'boxed': of what "
            "its last \\boxed{} holds; 'trace': mean a token of all that follows the step, later steps included."
        },
    )
    causal_eliminate: bool = field(
        default=True,
        metadata={
            "help": "Look again at steps without an effect, from the last to the first, each time without those "
            "already found dispensable: of two steps that say the same, the first is then essential. Not with 'trace'."
        },
    )
    causal_calibration: Calibration = field(
        default="mixture",
        metadata={
            "help": "How the threshold is found, without labels: 'mixture' of two groups of effects, 'otsu' (the split "
            "that leaves least variance), 'mirror' (effects as large but negative estimate false alarms)."
        },
    )
    causal_confidence: Annotated[float, Range(0.5, 1, below=True)] = field(
        default=0.9,
        metadata={"help": "Mixture: steps that belong to neither group with this probability are undecided."},
    )
    causal_false_alarms: OpenShare = field(
        default=0.05, metadata={"help": "Mirror: share of false alarms accepted among steps called essential."}
    )
    causal_threshold: Number | None = field(
        default=None, metadata={"help": "A threshold of your own, in nats; replaces the calibration."}
    )
    causal_share_prefix: bool = field(
        default=True, metadata={"help": "Compute what a trace and its shortened copies share only once."}
    )
    causal_batch_tokens: AtLeast1 = field(
        default=32768, metadata={"help": "Tokens, cached ones included, that a pass over several rows may hold."}
    )
    causal_pass_tokens: Count = field(
        default=256, metadata={"help": "Tokens that may be computed for nothing to save one forward pass."}
    )
    causal_resample: Count = field(
        default=0, metadata={"help": "Also sample this many answers after each deletion and verify them; 0 does not."}
    )
    causal_resample_tokens: AtLeast1 = field(default=1024, metadata={"help": "Limit on a resampled answer, in tokens."})
    causal_resample_temperature: Temperature = field(
        default=1.0, metadata={"help": "Temperature of resampled answers."}
    )
    causal_resample_seed: Seed = field(default=0, metadata={"help": "Seed of resampled answers."})

    def __post_init__(self) -> None:
        check_settings(self)
        if self.causal_target == "trace" and self.causal_eliminate:
            raise ConfigError(
                "causal_eliminate: only works with causal_target 'answer' or 'boxed'; set it to false for 'trace'"
            )

    @property
    def sampling(self) -> SamplingParams:
        """How answers are resampled."""
        return SamplingParams(
            self.causal_resample_tokens, self.causal_resample_temperature, seed=self.causal_resample_seed
        )
