"""TLMRE: a length penalty on the whole response."""

from __future__ import annotations

from torch import Tensor

from attnpo.credit.batches import GroupBatch
from attnpo.credit.methods.base import Method
from attnpo.credit.rewards import tlmre_rewards


class TLMRE(Method):
    """r = 1[correct] * (1 - alpha_len * sigmoid(z)) (arXiv 2502.04463; AttnPO, Eq. 3), every token alike."""

    name = "tlmre"

    def rewards(self, groups: GroupBatch) -> Tensor:
        """Return (P, G) rewards, smaller for responses that are long among the group's correct ones."""
        return tlmre_rewards(groups.correct_PG, groups.lengths_PG, self.settings.alpha_len)
