"""RLOO: outcome reward, leave-one-out baseline."""

from __future__ import annotations

from torch import Tensor

from attnpo.credit.advantages import group_advantages
from attnpo.credit.batches import GroupBatch
from attnpo.credit.methods.base import Method


class RLOO(Method):
    """r = 1[correct], A = r - mean of the others (arXiv 2402.14740, official code; AttnPO, Eq. 4). No length term."""

    name = "rloo"
    paper = "RLOO"
    arxiv = "2402.14740"
    source = "official code"
    formula = "r = 1[correct]; A = r - mean of the others"
    idle_settings = ("advantage",)

    def advantages(self, rewards_PG: Tensor, groups: GroupBatch | None = None) -> Tensor:
        """Return (P, G) leave-one-out advantages."""
        return group_advantages(rewards_PG, "rloo", self.settings.scale_advantages)
