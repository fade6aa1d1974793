"""Kimi k1.5's length reward: the length's place between the group's shortest and longest response."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from attnpo.credit.batches import GroupBatch
from attnpo.credit.checks import AT_LEAST_0, COUNT, setting
from attnpo.credit.methods.base import Method
from attnpo.credit.rewards import outcome_rewards
from attnpo.credit.settings import ADVANTAGE, AdvantageName, MethodSettings


@dataclass(frozen=True)
class KimiSettings(MethodSettings):
    """Settings of Kimi k1.5's length reward."""

    advantage: AdvantageName = setting("grpo", ADVANTAGE, "grpo (published: reward minus the group's mean) or rloo.")
    weight: float = setting(0.4, AT_LEAST_0, "Weight of the length reward; from code of others, not in the paper.")
    warmup_steps: int = setting(
        100, COUNT, "Optimizer steps without the length reward. The paper warms up and gives no number."
    )


class Kimi(Method):
    """r = 1[correct] + weight * l, l = lambda if correct, min(0, lambda) if not (arXiv 2501.12599, code of others).

    lambda = 1/2 - (L - min) / (max - min), min and max over all responses of the group; 0 where they are equal. No
    length reward in the first `warmup_steps`. The advantage is the reward minus the group's mean; the paper's own
    policy update (mirror descent with a squared log-ratio) is no part of credit and left out.
    """

    name = "kimi"
    paper = "Kimi k1.5"
    arxiv = "2501.12599"
    source = "code of others"
    formula = "r = 1[correct] + 0.4 (correct: lambda; wrong: min(0, lambda)), lambda = 1/2 - (L - min) / (max - min)"
    settings_type = KimiSettings
    settings: KimiSettings

    @torch.no_grad()
    def rewards(self, groups: GroupBatch) -> Tensor:
        """Return (P, G) rewards: correct ones 1 ± weight / 2, wrong ones from -weight / 2 to 0."""
        rewards_PG = outcome_rewards(groups.correct_PG)
        if groups.progress_step < self.settings.warmup_steps:
            return rewards_PG
        lambda_PG = place_in_group(groups.lengths_PG)
        length_PG = torch.where(groups.correct_PG.bool(), lambda_PG, lambda_PG.clamp(max=0))
        return rewards_PG + self.settings.weight * length_PG


@torch.no_grad()
def place_in_group(lengths_PG: Tensor) -> Tensor:
    """Return (P, G) float32 lambda: 1/2 for the shortest response, -1/2 for the longest, 0 where all are as long."""
    shortest_P1 = lengths_PG.min(dim=1, keepdim=True).values
    range_P1 = lengths_PG.max(dim=1, keepdim=True).values - shortest_P1
    lambda_PG = 0.5 - (lengths_PG - shortest_P1).float() / range_P1.clamp(min=1)
    return torch.where(range_P1 > 0, lambda_PG, 0.0)
