"""Settings of an evaluation run."""

from __future__ import annotations

from dataclasses import dataclass, field

from attnpo.errors import ConfigError
from attnpo.sampling import SamplingParams


@dataclass
class EvaluationSettings:
    """How responses are sampled and summed up; the sampling defaults are the paper's."""

    samples_per_problem: int = field(default=4, metadata={"help": "Responses sampled to each problem."})
    max_new_tokens: int = field(default=16384, metadata={"help": "Limit on a response, in tokens."})
    temperature: float = field(default=0.6, metadata={"help": "Sampling temperature; 0 takes the likeliest token."})
    top_p: float = field(default=0.95, metadata={"help": "Nucleus of the sampling distribution; 1 keeps all."})
    top_k: int = field(default=0, metadata={"help": "Most likely tokens to sample from; 0 keeps all."})
    seed: int = field(default=0, metadata={"help": "Seed of sampling and resamples."})
    level: float = field(default=0.95, metadata={"help": "Coverage of the intervals."})
    resamples: int = field(default=2000, metadata={"help": "Bootstrap resamples of the intervals."})

    def __post_init__(self) -> None:
        for name in ("samples_per_problem", "resamples"):
            if getattr(self, name) < 1:
                raise ConfigError(f"{name}: {getattr(self, name)} is below 1")
        if not 0 < self.level < 1:
            raise ConfigError(f"level: {self.level} is not between 0 and 1")

    @property
    def sampling(self) -> SamplingParams:
        """How responses are drawn."""
        return SamplingParams(self.max_new_tokens, self.temperature, self.top_p, self.top_k, self.seed)
