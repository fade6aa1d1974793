"""GRPO: outcome reward, the group's mean as baseline."""

from __future__ import annotations

from torch import Tensor

from attnpo.credit.advantages import group_advantages
from attnpo.credit.batches import GroupBatch
from attnpo.credit.methods.base import Method


class GRPO(Method):
    """r = 1[correct], A = r - mean, over std with `scale_advantages` (arXiv 2402.03300, official code).

    The paper divides by the standard deviation (preset `grpo-std`); without it, as here by default, a prompt that
    is nearly always or nearly never solved weighs no more than the others. No length term.
    """

    name = "grpo"
    paper = "GRPO"
    arxiv = "2402.03300"
    source = "official code"
    formula = "r = 1[correct]; A = r - mean, over std with scale_advantages"
    idle_settings = ("advantage",)

    def advantages(self, rewards_PG: Tensor, groups: GroupBatch | None = None) -> Tensor:
        """Return (P, G) advantages over the group's mean."""
        return group_advantages(rewards_PG, "grpo", self.settings.scale_advantages)
