"""What ThinkPrune, SIRI, DLER and DA-DLER share: a correct answer earns its reward within a limit on length."""

from __future__ import annotations

import torch
from torch import Tensor

from attnpo.credit.batches import GroupBatch
from attnpo.credit.methods.base import Method
from attnpo.credit.rewards import outcome_rewards


class WithinLimit(Method):
    """A method whose reward of a correct answer depends on a limit, which each says for itself."""

    def limits(self, groups: GroupBatch) -> Tensor | int:
        """Return (P, 1) integer limits in tokens, or the one of all groups."""
        raise NotImplementedError

    def share_beyond(self) -> float:
        """Return what a correct answer earns whose response was cut, or goes on beyond the limit."""
        return 0.0

    def within(self, groups: GroupBatch) -> Tensor:
        """Return (P, G) bool: ended by itself, within the limit."""
        return groups.finished_PG.bool() & (groups.lengths_PG <= self.limits(groups))

    @torch.no_grad()
    def rewards(self, groups: GroupBatch) -> Tensor:
        """Return (P, G) rewards in [0, 1]."""
        return outcome_rewards(groups.correct_PG) * torch.where(self.within(groups), 1.0, self.share_beyond())
