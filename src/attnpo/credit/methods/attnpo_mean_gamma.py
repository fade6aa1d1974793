"""Control: AttnPO's own mean factor on every token of a response."""

from __future__ import annotations

import torch
from torch import Tensor

from attnpo.credit.batches import StepBatch
from attnpo.credit.methods.attnpo import AttnPO
from attnpo.credit.rescaling import step_gamma


class AttnPOMeanGamma(AttnPO):
    """A response keeps as much advantage as under AttnPO, spread evenly over its tokens, the final answer's too.

    What is left of AttnPO is how strongly each response counts; which steps it touches plays no part.
    """

    name = "attnpo_mean_gamma"
    paper = "control of AttnPO"
    source = "this project"
    formula = "AttnPO with the mean of gamma over a response's tokens on each of them"

    @torch.no_grad()
    def gamma(self, steps: StepBatch) -> Tensor:
        """Return (B, K) the mean factor of each response's tokens by Eq. 5-8, those outside the steps counting as 1."""
        gamma_BK = step_gamma(self.step_scores(steps), steps, self.settings)
        tokens_BK = torch.where(steps.owned_BK, steps.step_lengths_BK, 0).float()
        taken_B = ((1 - gamma_BK) * tokens_BK).sum(dim=1)
        mean_B = 1 - taken_B / steps.response_lengths_B.clamp(min=1)
        return mean_B[:, None].expand(gamma_BK.shape)

    @torch.no_grad()
    def spread(self, steps: StepBatch, gamma_BK: Tensor, step_index_BT: Tensor) -> Tensor:
        """Return (B, T) the same factor times A_i for every token."""
        factor_B = gamma_BK[:, 0] if gamma_BK.shape[1] else torch.ones_like(steps.advantages_B, dtype=torch.float32)
        return (steps.advantages_B.float() * factor_B)[:, None].expand(step_index_BT.shape)
