"""AttnPO: TLMRE's reward, its advantage rescaled step by step."""

from __future__ import annotations

from torch import Tensor

from attnpo.credit.batches import StepBatch
from attnpo.credit.methods.scored import Scored
from attnpo.credit.rescaling import step_gamma
from attnpo.credit.settings import CreditSettings


class AttnPO(Scored):
    """Redundant steps are rewarded less, essential ones not punished (arXiv 2602.09953, the paper; AttnPO, Eq. 3-8)."""

    name = "attnpo"
    paper = "AttnPO"
    arxiv = "2602.09953"
    source = "the paper"
    formula = "TLMRE; A > 0, S < S_base: gamma = (1 - delta) S / S_base + delta; A < 0, S > S_base: gamma = 0"
    settings_type = CreditSettings
    settings: CreditSettings

    def gamma(self, steps: StepBatch) -> Tensor:
        """Return (B, K) factors by Eq. 5-8."""
        return step_gamma(self.step_scores(steps), steps, self.settings)
