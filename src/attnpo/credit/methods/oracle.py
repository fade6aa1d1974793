"""The truth about each step in place of its score: a bound of AttnPO; the truth reversed."""

from __future__ import annotations

from typing import ClassVar, Final

import torch
from torch import Tensor

from attnpo.credit.batches import ESSENTIAL, REDUNDANT, StepBatch
from attnpo.credit.methods.attnpo import AttnPO
from attnpo.credit.methods.scored import Scored
from attnpo.credit.rescaling import step_baseline
from attnpo.credit.settings import CreditSettings
from attnpo.errors import DataError

BAR_SETTINGS: Final = ("alpha_base", "difficulty_baseline", "baseline_denominator")
"""Settings of the height of S_base, which do nothing where scores are given as multiples of it."""


def scores_by_label(labels_BK: Tensor, undecided_BK: Tensor, below: int = REDUNDANT, above: int = ESSENTIAL) -> Tensor:
    """Return (B, K) float32 scores: 0 for the label `below`, 2 (above any baseline) for `above`.

    Args:
        labels_BK: step labels as `attnpo.credit.batches` codes them.
        undecided_BK: what all other steps score; expanded to (B, K).
        below: a label.
        above: a label.
    """
    scores_BK = undecided_BK.float().expand(labels_BK.shape).masked_fill(labels_BK == below, 0.0)
    return scores_BK.masked_fill(labels_BK == above, 2.0)


class LabelScores(Scored):
    """Redundant steps score 0, essential ones 2 (above any baseline), undecided ones the baseline itself."""

    source = "this project"
    extra_passes = "none"
    needs_scores = False
    needs_labels = True
    idle_settings: ClassVar[tuple[str, ...]] = ("num_heads",)
    below: ClassVar[int] = REDUNDANT
    above: ClassVar[int] = ESSENTIAL

    @torch.no_grad()
    def step_scores(self, steps: StepBatch) -> Tensor:
        """Return (B, K) scores by label.

        Raises:
            DataError: the steps carry no labels.
        """
        if steps.labels_BK is None:
            raise DataError(f"method {self.name}: the steps carry no labels; give a labeller")
        baseline_B1 = step_baseline(steps, self.settings)[:, None]
        return scores_by_label(steps.labels_BK, baseline_B1, self.below, self.above)


class Oracle(LabelScores, AttnPO):
    """AttnPO by labels: redundant steps lie below the bar, essential ones above it, undecided ones on it."""

    name = "oracle"
    paper = "bound of AttnPO"
    formula = "AttnPO with S = 0 for redundant steps, 2 for essential ones, S_base for undecided ones"
    idle_settings = (*BAR_SETTINGS, "num_heads")
    settings: CreditSettings


class OracleReversed(Oracle):
    """The oracle with essential and redundant swapped."""

    name = "oracle_reversed"
    formula = "AttnPO with S = 0 for essential steps, 2 for redundant ones, S_base for undecided ones"
    below = ESSENTIAL
    above = REDUNDANT
