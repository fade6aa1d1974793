"""Settings of an evaluation run."""

from __future__ import annotations

from dataclasses import dataclass, field

from attnpo.errors import ConfigError
from attnpo.evaluation.metrics import default_budgets
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
class EvaluationSettings:
    """How responses are sampled and summed up; the sampling defaults are the paper's."""

    samples_per_problem: AtLeast1 = field(default=4, metadata={"help": "Responses sampled to each problem."})
    max_new_tokens: AtLeast1 = field(default=16384, metadata={"help": "Limit on a response, in tokens."})
    temperature: Temperature = field(
        default=0.6, metadata={"help": "Sampling temperature; 0 takes the likeliest token."}
    )
    top_p: PositiveShare = field(default=0.95, metadata={"help": "Nucleus of the sampling distribution; 1 keeps all."})
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
            "help": "Text behind the generation prompt of every response, as part of the prompt (\\n: line break). A "
            "model that was trained under one, such as AutoThink's '...\\n', is measured under it. Runs with other "
            "openings are neither mixed in one folder nor compared without `--allow opening`."
        },
    )
    level: OpenShare = field(default=0.95, metadata={"help": "Coverage of the intervals."})
    resamples: Resamples = field(default=2000, metadata={"help": "Bootstrap resamples of the intervals."})
    budgets: list[AtLeast1] | None = field(
        default=None,
        metadata={
            "help": "Token budgets to measure under; powers of two from 512 to 32,768 within max_new_tokens if absent."
        },
    )

    def __post_init__(self) -> None:
        self.opening = opening_text(self.opening)
        check_settings(self)
        for budget in self.budgets or ():
            if budget > self.max_new_tokens:
                raise ConfigError(
                    f"budgets: {budget} is above max_new_tokens {self.max_new_tokens}: what a response cut off there "
                    "would have answered is not known; leave it out or raise max_new_tokens"
                )

    @property
    def token_budgets(self) -> tuple[int, ...]:
        """The budgets to measure under, ascending."""
        return default_budgets(self.max_new_tokens) if self.budgets is None else tuple(sorted(set(self.budgets)))

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
