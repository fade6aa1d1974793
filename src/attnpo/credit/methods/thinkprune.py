"""ThinkPrune: outcome reward under a response limit that is lowered in stages."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

from attnpo.credit.batches import GroupBatch
from attnpo.credit.checks import TOKENS, Allowed, setting
from attnpo.credit.methods.within_limit import WithinLimit
from attnpo.credit.settings import GRPOSettings
from attnpo.errors import ConfigError

_FALLING = Allowed(
    "a list of integers of at least 1, each lower than the one before",
    lambda value: (
        isinstance(value, tuple)
        and len(value) > 0
        and all(map(TOKENS.holds, value))
        and all(after < before for before, after in pairwise(value))
    ),
)


@dataclass(frozen=True)
class ThinkPruneSettings(GRPOSettings):
    """Settings of ThinkPrune."""

    limits: tuple[int, ...] = setting((4000, 3000, 2000), _FALLING, "Response limit of each stage, in tokens.")
    stage_steps: int = setting(
        100, TOKENS, "Optimizer steps of a stage. Not published as a number: each stage is trained until it is good."
    )


class ThinkPrune(WithinLimit):
    """r = 1[correct, ended by itself, L <= limit] (arXiv 2504.01296, official code), with GRPO's advantage.

    The limit at optimizer step t is `limits[t // stage_steps]`, the last one from then on. It is a rule of the
    reward, so the result is the same whether sampling stops at it or at the run's own, higher limit; where it can,
    the trainer stops there and saves the tokens.
    """

    name = "thinkprune"
    paper = "ThinkPrune"
    arxiv = "2504.01296"
    source = "official code"
    formula = "r = 1[correct and finished within the limit], limit 4000, 3000, 2000 by stage; GRPO"
    extra_tokens = "fewer: sampling stops at the stage's limit (with group_sampler)"
    settings_type = ThinkPruneSettings
    settings: ThinkPruneSettings

    def check(self, max_length: int, group_size: int, verifier: str = "math") -> None:
        """Refuse stages that the run's limit makes idle."""
        if min(self.settings.limits) >= max_length:
            raise ConfigError(
                f"limits: {list(self.settings.limits)} are not below the response limit of {max_length} tokens and "
                "would do nothing; lower the last one, or raise max_completion_length"
            )

    def response_limit(self, progress_step: int) -> int:
        """Return the stage's limit in tokens."""
        stage = min(progress_step // self.settings.stage_steps, len(self.settings.limits) - 1)
        return self.settings.limits[stage]

    def limits(self, groups: GroupBatch) -> int:
        """Return the stage's limit in tokens."""
        return self.response_limit(groups.progress_step)
