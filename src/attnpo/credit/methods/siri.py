"""SIRI: a response limit that shrinks and grows again."""

from __future__ import annotations

import math
from dataclasses import dataclass

from attnpo.credit.batches import GroupBatch
from attnpo.credit.checks import TOKENS, setting
from attnpo.credit.methods.within_limit import WithinLimit
from attnpo.credit.settings import GRPOSettings
from attnpo.errors import ConfigError


@dataclass(frozen=True)
class SIRISettings(GRPOSettings):
    """Settings of SIRI's schedule."""

    longest: int = setting(16384, TOKENS, "Limit at the start of a cycle, in tokens.")
    shortest: int = setting(8192, TOKENS, "Limit in the middle of a cycle, in tokens.")
    cycle_steps: int = setting(640, TOKENS, "Optimizer steps of a cycle (published: three cycles, 1,920 steps).")

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.shortest > self.longest:
            raise ConfigError(f"shortest: {self.shortest} is not allowed; use at most longest, {self.longest}")


class SIRI(WithinLimit):
    """r = 1[the answer within the first L(t) tokens is right] (arXiv 2509.25176, the paper), with GRPO's advantage.

    L(t) = 12288 + 4096 cos(2 pi t / 640): the trainer stops sampling there where it can, so what is verified is what
    stands within L(t), whether or not the response ended; a response that another engine let go on counts as wrong.
    Published without KL, with TRL's `epsilon_high` 0.28, 128 prompts, learning rate 1e-6; the models called low and
    high are those after 2.5 and after 3 cycles.
    """

    name = "siri"
    paper = "SIRI, its schedule"
    arxiv = "2509.25176"
    source = "the paper"
    formula = "r = 1[answer within L(t) is right], L(t) = 12288 + 4096 cos(2 pi t / 640); GRPO"
    extra_tokens = "fewer: sampling stops at L(t) (with group_sampler)"
    settings_type = SIRISettings
    wants_end = False
    settings: SIRISettings

    def check(self, max_length: int, group_size: int, verifier: str = "math") -> None:
        """Refuse a schedule that the run's limit cuts, or makes idle."""
        if self.settings.longest > max_length:
            raise ConfigError(
                f"longest: {self.settings.longest} is above the response limit of {max_length} tokens, which would cut "
                "the schedule; lower it, or raise max_completion_length"
            )
        if self.settings.shortest >= max_length:
            raise ConfigError(
                f"shortest: {self.settings.shortest} is not below the response limit of {max_length} tokens, so the "
                "schedule would do nothing; lower it, or raise max_completion_length"
            )

    def response_limit(self, progress_step: int) -> int:
        """Return L(t) in tokens."""
        own = self.settings
        cosine = math.cos(2 * math.pi * progress_step / own.cycle_steps)
        return round((own.longest + own.shortest) / 2 + (own.longest - own.shortest) / 2 * cosine)

    def limits(self, groups: GroupBatch) -> int:
        """Return L(t) in tokens."""
        return self.response_limit(groups.progress_step)
