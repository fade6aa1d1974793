"""AttnPO: TLMRE's reward, its advantage rescaled step by step."""

from __future__ import annotations

from torch import Tensor

from attnpo.credit.batches import StepBatch
from attnpo.credit.methods.tlmre import TLMRE
from attnpo.credit.rescaling import step_gamma


class AttnPO(TLMRE):
    """Redundant steps are rewarded less, essential ones not punished (arXiv 2602.09953; AttnPO, Eq. 3-8)."""

    name = "attnpo"
    needs_scores = True

    def step_scores(self, steps: StepBatch) -> Tensor:
        """Return (B, K) scores that tell redundant from essential steps: here the heads' own (Eq. 2)."""
        return steps.scores_BK

    def gamma(self, steps: StepBatch) -> Tensor:
        """Return (B, K) factors by Eq. 5-8."""
        return step_gamma(self.step_scores(steps), steps, self.settings)
