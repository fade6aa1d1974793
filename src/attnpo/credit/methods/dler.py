"""DLER: truncation as the only length term, with an advantage that bears it; DA-DLER, with a limit by difficulty."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from attnpo.credit.batches import GroupBatch
from attnpo.credit.checks import COUNT, SHARE, SWITCH, TOKENS, setting
from attnpo.credit.methods.within_limit import WithinLimit
from attnpo.credit.settings import ADVANTAGE, RESAMPLE, AdvantageName, MethodSettings
from attnpo.errors import ConfigError


@dataclass(frozen=True)
class DLERSettings(MethodSettings):
    """Settings of DLER."""

    advantage: AdvantageName = setting("grpo", ADVANTAGE, "grpo (published: reward minus the group's mean) or rloo.")
    whiten: bool = setting(True, SWITCH, "Make advantages mean 0 and variance 1 over all response tokens of the batch.")
    resample_groups: int = setting(10, COUNT, RESAMPLE)
    limit: int = setting(4000, TOKENS, "Limit on a response in tokens.")
    beyond: float = setting(
        0.0, SHARE, "What a correct answer beyond the limit earns (the paper: 0; the released code: 0.1)."
    )


@dataclass(frozen=True)
class DADLERSettings(DLERSettings):
    """Settings of DA-DLER."""

    easy_limit: int = setting(2000, TOKENS, "Limit on responses to easy prompts in tokens.")
    easy_from: float = setting(0.5, SHARE, "Pass rate from which a prompt is easy.")


class DLER(WithinLimit):
    """r = 1[correct and L <= limit], A = r - mean, whitened over all tokens of the batch (arXiv 2510.15110).

    The paper; the released code pays a correct answer beyond the limit 0.1 (`beyond`). Groups of equal rewards are
    sampled again from other problems (`resample_groups`). Published with 16 responses to each of 512 prompts, and these
    settings of TRL's: `epsilon_high` 0.28, `beta` 5e-4, `temperature` 1, `learning_rate` 1e-6. A response that the
    run's own limit cuts counts as beyond.
    """

    name = "dler"
    paper = "DLER"
    arxiv = "2510.15110"
    source = "the paper"
    formula = "r = 1[correct and L <= 4000]; A = r - mean, over the batch's tokens mean 0, variance 1"
    extra_tokens = "groups sampled again; fewer in each: sampling stops at the limit"
    settings_type = DLERSettings
    settings: DLERSettings

    def response_limit(self, progress_step: int) -> int:
        """Return the limit in tokens."""
        return self.settings.limit

    def limits(self, groups: GroupBatch) -> Tensor | int:
        """Return the limit in tokens."""
        return self.settings.limit

    def share_beyond(self) -> float:
        """Return what a correct answer beyond the limit earns."""
        return self.settings.beyond


class DADLER(DLER):
    """DLER with limit 2000 where the pass rate is at least 1/2, else 4000 (arXiv 2510.15110, the paper).

    The pass rate is that of the group as sampled, before its limit. Published as 150 further steps from a model that
    DLER trained.
    """

    name = "da_dler"
    paper = "DA-DLER"
    formula = "DLER with limit 2000 where p >= 1/2, else 4000"
    settings_type = DADLERSettings
    settings: DADLERSettings

    def check(self, max_length: int, group_size: int, verifier: str = "math") -> None:
        """Refuse limits that punish easy prompts less."""
        super().check(max_length, group_size, verifier)
        if self.settings.easy_limit > self.settings.limit:
            raise ConfigError(
                f"easy_limit: {self.settings.easy_limit} is above limit, {self.settings.limit}; set it lower"
            )

    @torch.no_grad()
    def limits(self, groups: GroupBatch) -> Tensor:
        """Return (P, 1) limits in tokens."""
        easy_P1 = (groups.pass_rate_P >= self.settings.easy_from)[:, None]
        limits = groups.lengths_PG.new_tensor([self.settings.limit, self.settings.easy_limit])
        return limits[easy_P1.long()]
