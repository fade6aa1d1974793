"""Settings of an evaluation run."""

from __future__ import annotations

from dataclasses import dataclass, field

from attnpo.errors import ConfigError
from attnpo.evaluation.metrics import default_budgets
from attnpo.ranges import AtLeast1, PositiveShare, Temperature, restated
from attnpo.sampling import SamplingSettings


@dataclass
class EvaluationSettings(SamplingSettings):
    """How responses are sampled and summed up; the sampling defaults are the paper's."""

    samples_per_problem: AtLeast1 = restated(SamplingSettings, "samples_per_problem", 4)
    temperature: Temperature = restated(SamplingSettings, "temperature", 0.6)
    top_p: PositiveShare = restated(SamplingSettings, "top_p", 0.95)
    opening: str = field(
        default="",
        metadata={
            "help": "Text behind the generation prompt of every response, as part of the prompt (\\n: line break). A "
            "model that was trained under one, such as AutoThink's '...\\n', is measured under it. Runs with other "
            "openings are neither mixed in one folder nor compared without `--allow opening`."
        },
    )
    budgets: list[AtLeast1] | None = field(
        default=None,
        metadata={
            "help": "Token budgets to measure under; powers of two from 512 to 32,768 within max_new_tokens if absent."
        },
    )

    def __post_init__(self) -> None:
        super().__post_init__()
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
