"""Settings of a discovery run."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

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
from attnpo.sampling import SamplingParams, opening_text


@dataclass
class DiscoverySettings:
    """How the probing set is sampled and gated, and how heads are chosen on it."""

    samples_per_problem: AtLeast1 = field(default=8, metadata={"help": "Responses sampled to each problem."})
    max_new_tokens: AtLeast1 = field(default=16384, metadata={"help": "Limit on a response, in tokens."})
    temperature: Temperature = field(default=1.0, metadata={"help": "Sampling temperature."})
    top_p: PositiveShare = field(default=1.0, metadata={"help": "Nucleus of the sampling distribution; 1 keeps all."})
    top_k: Count = field(default=0, metadata={"help": "Most likely tokens to sample from; 0 keeps all."})
    min_p: Share = field(
        default=0.0, metadata={"help": "Keep tokens of at least this share of the likeliest one's probability."}
    )
    repetition_penalty: Positive = field(
        default=1.0, metadata={"help": "Divides the logits of tokens in prompt or response; 1 changes nothing."}
    )
    seed: Seed = field(
        default=0, metadata={"help": "Seed of sampling, halves, resamples and the random-initialised model."}
    )
    opening: str = field(
        default="",
        metadata={
            "help": "Text behind the generation prompt of every response, as part of the prompt (\\n: line break): "
            "'<think>\\n' where the chat template opens no think part."
        },
    )
    min_pass_rate: Share = field(
        default=0.5, metadata={"help": "Keep responses to problems with at least this share of correct responses."}
    )
    min_steps: AtLeast1 = field(default=2, metadata={"help": "Keep responses with at least this many steps."})
    num_heads: AtLeast1 = field(default=3, metadata={"help": "Most heads a set may have (the paper's N)."})
    selection: Literal["greedy", "top"] = field(
        default="greedy",
        metadata={"help": "'greedy': add the head that raises the ensemble's SRA most; 'top': best single heads."},
    )
    curve_heads: AtLeast1 = field(default=10, metadata={"help": "Length of the two ensemble curves, in heads."})
    select_share: OpenShare = field(
        default=0.5, metadata={"help": "Share of the problems that heads are chosen on; the others are reported on."}
    )
    batch_size: AtLeast1 = field(default=16, metadata={"help": "Responses a forward pass when scoring."})
    random_model: bool = field(
        default=True, metadata={"help": "Score a random-initialised copy of the model as well, as a trivial rule."}
    )
    level: OpenShare = field(default=0.95, metadata={"help": "Coverage of the intervals."})
    resamples: Resamples = field(default=2000, metadata={"help": "Bootstrap resamples of the intervals."})

    def __post_init__(self) -> None:
        self.opening = opening_text(self.opening)
        check_settings(self)

    @property
    def sampling(self) -> SamplingParams:
        """How responses are drawn."""
        return SamplingParams(
            self.max_new_tokens,
            self.temperature,
            self.top_p,
            self.top_k,
            self.seed,
            self.min_p,
            self.repetition_penalty,
        )
