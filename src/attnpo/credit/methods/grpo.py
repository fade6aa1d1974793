"""GRPO: outcome reward, the group's mean as baseline."""

from __future__ import annotations

from torch import Tensor

from attnpo.credit.advantages import group_advantages
from attnpo.credit.batches import GroupBatch
from attnpo.credit.methods.base import Method


class GRPO(Method):
    """r = 1[correct], A = r - mean, over std with `scale_advantages` (arXiv 2402.03300). No length term."""

    name = "grpo"

    def advantages(self, rewards_PG: Tensor, groups: GroupBatch | None = None) -> Tensor:
        """Return (P, G) advantages over the group's mean, whatever `settings.advantage` says."""
        return group_advantages(rewards_PG, "grpo", self.settings.scale_advantages)
