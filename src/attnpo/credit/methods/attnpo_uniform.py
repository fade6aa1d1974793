"""Control: AttnPO with each response's attention spread evenly over its steps' tokens."""

from __future__ import annotations

import torch
from torch import Tensor

from attnpo.credit.batches import StepBatch
from attnpo.credit.methods.attnpo import AttnPO


class AttnPOUniform(AttnPO):
    """Every step of a response scores the same: its steps' mean score, weighted by their tokens.

    A response keeps the attention mass that the heads give its think part, and all its steps fall on one side of
    the baseline: what is left is one more factor on whole responses.
    """

    name = "attnpo_uniform"
    paper = "control of AttnPO"
    source = "this project"
    formula = "AttnPO with S = sum(S_k |s_k|) / sum(|s_k|) for every step of a response"

    @torch.no_grad()
    def step_scores(self, steps: StepBatch) -> Tensor:
        """Return (B, K) scores, equal within a response."""
        scored_BK = steps.owned_BK & ~steps.scores_BK.isnan()
        weights_BK = torch.where(scored_BK, steps.step_lengths_BK, 0).float()
        mass_B = (torch.where(scored_BK, steps.scores_BK.float(), 0.0) * weights_BK).sum(dim=1)
        mean_B = mass_B / weights_BK.sum(dim=1).clamp(min=1)
        return mean_B[:, None].expand(steps.scores_BK.shape)
