"""What every method answers: a response's reward, its advantage in the group, and each step's share of it."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor

from attnpo.credit.advantages import group_advantages
from attnpo.credit.batches import GroupBatch, StepBatch
from attnpo.credit.rewards import outcome_rewards
from attnpo.credit.settings import CreditSettings


class Method:
    """A way to give credit: plain outcome reward and advantage, the same for every token, unless overridden.

    A method holds its settings and nothing else; all three functions are pure. Groups are always whole, steps
    may come in any slice of the batch.

    Attributes:
        name: the name under which the registry lists it.
        needs_scores: whether `gamma` reads `StepBatch.scores_BK`; where not, no head is read.
        needs_labels: whether `gamma` reads `StepBatch.labels_BK`.
    """

    name: ClassVar[str]
    needs_scores: ClassVar[bool] = False
    needs_labels: ClassVar[bool] = False

    def __init__(self, settings: CreditSettings) -> None:
        self.settings = settings

    def rewards(self, groups: GroupBatch) -> Tensor:
        """Return (P, G) float32 rewards r_i."""
        return outcome_rewards(groups.correct_PG)

    def advantages(self, rewards_PG: Tensor, groups: GroupBatch | None = None) -> Tensor:
        """Return (P, G) float32 outcome advantages A_i.

        Args:
            rewards_PG: (P, G) rewards.
            groups: the groups, for methods whose advantage is more than a function of the rewards.
        """
        return group_advantages(rewards_PG, self.settings.advantage, self.settings.scale_advantages)

    def gamma(self, steps: StepBatch) -> Tensor:
        """Return (B, K) float32 factors on the advantage of each step (Eq. 5)."""
        return torch.ones_like(steps.step_mask_BK, dtype=torch.float32)
