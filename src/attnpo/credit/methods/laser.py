"""LASER: a bonus for correct responses within a target length."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from attnpo.credit.batches import GroupBatch
from attnpo.credit.checks import AT_LEAST_0, NUMBER, TOKENS, setting
from attnpo.credit.methods.base import Method
from attnpo.credit.settings import GRPOSettings
from attnpo.errors import ConfigError


@dataclass(frozen=True)
class LaserRewardSettings(GRPOSettings):
    """What LASER, LASER-D and LASER-DE have in common."""

    bonus: float = setting(0.5, AT_LEAST_0, "Reward for being within the target length, beside 1 for a correct answer.")
    wrong_reward: float = setting(-0.5, NUMBER, "Reward of an incorrect final answer.")
    unanswered_reward: float = setting(-1.0, NUMBER, "Reward of a response without a final answer (no format).")


@dataclass(frozen=True)
class LaserSettings(LaserRewardSettings):
    """Settings of LASER."""

    target_length: int = setting(4096, TOKENS, "Target length L_T in tokens.")


class StepReward(Method):
    """The step function that LASER and its adaptive forms share; each says what its target lengths are."""

    settings_type: ClassVar = LaserRewardSettings
    settings: LaserRewardSettings

    def target_lengths(self, groups: GroupBatch) -> Tensor:
        """Return (P, 1) integer target lengths."""
        raise NotImplementedError

    def earns_bonus(self, groups: GroupBatch) -> Tensor:
        """Return (P, G) bool: correct and within the target length."""
        return groups.correct_PG.bool() & (groups.lengths_PG <= self.target_lengths(groups))

    @torch.no_grad()
    def rewards(self, groups: GroupBatch) -> Tensor:
        """Return (P, G) rewards: base by verdict and format, plus the bonus."""
        answered_PG = groups.finished_PG if groups.answered_PG is None else groups.answered_PG
        base_PG = torch.full_like(groups.lengths_PG, self.settings.unanswered_reward, dtype=torch.float32)
        base_PG = base_PG.masked_fill(answered_PG.bool(), self.settings.wrong_reward)
        base_PG = base_PG.masked_fill(groups.correct_PG.bool(), 1.0)
        return base_PG + self.settings.bonus * self.earns_bonus(groups)


class LASER(StepReward):
    """r = 1 if correct, -0.5 if wrong, -1 without a final answer; + 0.5 if correct and L <= L_T; GRPO.

    arXiv 2505.15612, official code. A final answer is what follows a closed think part; the official code asks for
    a boxed one. Published for responses of at most 16,384 tokens.
    """

    name = "laser"
    paper = "LASER"
    arxiv = "2505.15612"
    source = "official code"
    formula = "r = correct 1, wrong -0.5, no answer -1; + 0.5 if correct and L <= L_T; GRPO"
    settings_type = LaserSettings
    settings: LaserSettings

    def check(self, max_length: int, group_size: int, verifier: str = "math") -> None:
        """Refuse a target that every finished response meets."""
        if self.settings.target_length > max_length:
            raise ConfigError(
                f"target_length: {self.settings.target_length} is above the response limit of {max_length} tokens, so "
                "every correct response would earn the bonus; set it lower"
            )

    def target_lengths(self, groups: GroupBatch) -> Tensor:
        """Return (P, 1) the one target length."""
        return torch.full_like(groups.lengths_PG[:, :1], self.settings.target_length)
