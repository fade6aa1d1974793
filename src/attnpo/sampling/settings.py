"""What discovery and evaluation let a user set of how responses are drawn and intervals made."""

from __future__ import annotations

from dataclasses import dataclass, field

from attnpo.ranges import (
    AtLeast1,
    Count,
    OpenShare,
    Positive,
    PositiveShare,
    Resamples,
    Seed,
    Share,
    Temperature,
    check_settings,
)
from attnpo.sampling.base import SamplingParams
from attnpo.sampling.prompts import opening_text


@dataclass
class SamplingSettings:
    """How responses are drawn, and how sure their means are."""

    samples_per_problem: AtLeast1 = field(default=8, metadata={"help": "Responses sampled to each problem."})
    max_new_tokens: AtLeast1 = field(default=16384, metadata={"help": "Limit on a response, in tokens."})
    temperature: Temperature = field(
        default=1.0, metadata={"help": "Sampling temperature; 0 takes the likeliest token."}
    )
    top_p: PositiveShare = field(default=1.0, metadata={"help": "Nucleus of the sampling distribution; 1 keeps all."})
    top_k: Count = field(default=0, metadata={"help": "Most likely tokens to sample from; 0 keeps all."})
    min_p: Share = field(
        default=0.0, metadata={"help": "Keep tokens of at least this share of the likeliest one's probability."}
    )
    repetition_penalty: Positive = field(
        default=1.0, metadata={"help": "Divides the logits of tokens in prompt or response; 1 changes nothing."}
    )
    seed: Seed = field(default=0, metadata={"help": "Seed of sampling and resamples."})
    opening: str = field(
        default="",
        metadata={
            "help": "Text behind the generation prompt of every response, as part of the prompt (\\n: line break): "
            "'<think>\\n' for a model that was trained behind it, where the chat template leaves it out; not for one "
            "that writes <think> itself (Qwen3)."
        },
    )
    level: OpenShare = field(default=0.95, metadata={"help": "Coverage of the intervals."})
    resamples: Resamples = field(default=2000, metadata={"help": "Bootstrap resamples of the intervals."})

    def __post_init__(self) -> None:
        self.opening = opening_text(self.opening)
        check_settings(self)

    @property
    def sampling(self) -> SamplingParams:
        """How responses are drawn."""
        return SamplingParams.of(self)
