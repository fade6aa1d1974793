"""AttnPO with options of this project's own; without them, AttnPO."""

from __future__ import annotations

from torch import Tensor

from attnpo.credit.batches import StepBatch
from attnpo.credit.methods.attnpo import AttnPO
from attnpo.credit.options import OptionSettings, redistribute, relative_scores, strengthen, treat_incorrect
from attnpo.credit.rescaling import step_gamma


class AttnPOExtended(AttnPO):
    """Eq. 5-8 with another bar, a stronger PA, credit for incorrect responses, or credit that goes to other steps."""

    name = "attnpo_extended"
    paper = "AttnPO, extended"
    source = "this project"
    formula = "AttnPO, then by choice: bar = mean score; 1 - strength (1 - gamma); incorrect ones too; to other steps"
    settings_type = OptionSettings
    settings: OptionSettings

    def gamma(self, steps: StepBatch) -> Tensor:
        """Return (B, K) factors by Eq. 5-8 and the options; from `attenuation_floor` to `gamma_ceiling`."""
        own = self.settings
        scores_BK = relative_scores(self.step_scores(steps), steps, own)
        gamma_BK = strengthen(step_gamma(scores_BK, steps, own), steps, own)
        return redistribute(treat_incorrect(gamma_BK, scores_BK, steps, own), steps, own)
