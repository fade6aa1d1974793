"""What ThinkPrune, SIRI, DLER, DA-DLER and SAS share: a correct answer earns its reward within a limit on length."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor

from attnpo.credit.batches import GroupBatch
from attnpo.credit.methods.base import Method
from attnpo.credit.rewards import outcome_rewards
from attnpo.errors import ConfigError


class WithinLimit(Method):
    """A method whose reward of a correct answer depends on a limit, which each says for itself."""

    wants_end: ClassVar[bool] = True  # a response that was cut lies beyond the limit, whatever it says

    def check(self, max_length: int, group_size: int, verifier: str = "math") -> None:
        """Refuse a `limit` that the run's own makes idle."""
        limit = getattr(self.settings, "limit", None)
        if limit is not None and limit > max_length:
            raise ConfigError(
                f"limit: {limit} is above the response limit of {max_length} tokens and would do nothing; set it "
                "lower, or raise max_completion_length"
            )

    def limits(self, groups: GroupBatch) -> Tensor | int:
        """Return (P, 1) integer limits in tokens, or the one of all groups."""
        raise NotImplementedError

    def share_beyond(self) -> float:
        """Return what a correct answer earns whose response was cut, or goes on beyond the limit."""
        return 0.0

    def within(self, groups: GroupBatch) -> Tensor:
        """Return (P, G) bool: no longer than the limit and, where that is wanted, ended by itself."""
        within_PG = groups.lengths_PG <= self.limits(groups)
        return within_PG & groups.finished_PG.bool() if self.wants_end else within_PG

    @torch.no_grad()
    def rewards(self, groups: GroupBatch) -> Tensor:
        """Return (P, G) rewards in [0, 1]."""
        return outcome_rewards(groups.correct_PG) * torch.where(self.within(groups), 1.0, self.share_beyond())
