"""A method of one's own in one file: the lower half of a response's steps earns less.

    attnpo train --method new_method:LowerHalf --method_settings '{"share": 0.25}' --heads HEADS ...

from the folder of this file. `docs/new-method.md` walks through it.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from attnpo.credit import StepBatch
from attnpo.credit.checks import SHARE, setting
from attnpo.credit.methods.tlmre import TLMRE
from attnpo.credit.settings import LengthTermSettings


@dataclass(frozen=True)
class LowerHalfSettings(LengthTermSettings):
    """TLMRE's settings and one more."""

    share: float = setting(0.5, SHARE, "Share of a positive advantage that steps scored below the median get.")


class LowerHalf(TLMRE):
    """TLMRE's reward; of a positive advantage, steps that score below their response's median get a share."""

    name = "lower-half"
    paper = "not published"
    arxiv = None
    source = "this project"
    formula = "TLMRE; A > 0, S < median(S): gamma = share"
    settings_type = LowerHalfSettings
    settings: LowerHalfSettings
    needs_scores = True

    def gamma(self, steps: StepBatch) -> Tensor:
        """Return the (B, K) factor on each step's advantage."""
        scores_BK = steps.scores_BK.masked_fill(~steps.owned_BK, torch.nan)
        low_BK = scores_BK < scores_BK.nanmedian(dim=1, keepdim=True).values
        low_BK &= steps.rescalable_BK & (steps.advantages_B > 0)[:, None]
        return torch.where(low_BK, self.settings.share, 1.0)
