"""ShorterBetter: every response pays for its distance from the group's shortest correct one."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from attnpo.credit.batches import GroupBatch
from attnpo.credit.checks import AT_LEAST_0, setting
from attnpo.credit.methods.base import Method
from attnpo.credit.rewards import outcome_rewards
from attnpo.credit.settings import GRPOSettings


@dataclass(frozen=True)
class ShorterBetterSettings(GRPOSettings):
    """Settings of ShorterBetter."""

    correct_reward: float = setting(2.0, AT_LEAST_0, "Reward of a correct answer.")
    price: float = setting(1e-3, AT_LEAST_0, "What a token away from the optimal length costs.")


class ShorterBetter(Method):
    """r = 2 1[correct] - 1e-3 |L - L*|, right and wrong responses alike (arXiv 2504.21370, official code); GRPO.

    L* is the length of the group's shortest correct response, the mean of all where none is correct. Published with 8
    responses of at most 6,000 tokens, temperature 0.9, TRL's `beta` 1e-3, learning rate 1e-6.
    """

    name = "shorterbetter"
    paper = "ShorterBetter"
    arxiv = "2504.21370"
    source = "official code"
    formula = "r = 2 1[correct] - 1e-3 |L - L*|, L* = shortest correct, else mean of all; GRPO"
    settings_type = ShorterBetterSettings
    settings: ShorterBetterSettings

    @torch.no_grad()
    def rewards(self, groups: GroupBatch) -> Tensor:
        """Return (P, G) rewards."""
        away_PG = (groups.lengths_PG - optimal_lengths(groups)).abs()
        return self.settings.correct_reward * outcome_rewards(groups.correct_PG) - self.settings.price * away_PG


@torch.no_grad()
def optimal_lengths(groups: GroupBatch) -> Tensor:
    """Return (P, 1) float32 L* in tokens."""
    lengths_PG, correct_PG = groups.lengths_PG.float(), groups.correct_PG.bool()
    shortest_P1 = torch.where(correct_PG, lengths_PG, torch.inf).amin(dim=1, keepdim=True)
    return torch.where(shortest_P1.isinf(), lengths_PG.mean(dim=1, keepdim=True), shortest_P1)
