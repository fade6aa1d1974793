"""Credit that keeps its sum: what PA takes from redundant steps goes to essential ones of the same response."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from attnpo.credit import CreditSettings, StepBatch, step_baseline
from attnpo.credit.checks import SWITCH, Range, setting
from attnpo.credit.methods.attnpo import AttnPO
from attnpo.credit.methods.oracle import LabelScores


@dataclass(frozen=True)
class KeptSumSettings(CreditSettings):
    """AttnPO's settings, without NA unless it is asked for, and how much a step may be given."""

    negative_attenuation: bool = setting(
        False, SWITCH, "NA: do not punish essential steps of a response with negative advantage."
    )
    gamma_ceiling: float = setting(2.0, Range(1), "Largest gamma that a receiver may be given.")


@torch.no_grad()
def keep_sum(gamma_BK: Tensor, scores_BK: Tensor, steps: StepBatch, settings: KeptSumSettings) -> Tensor:
    """Return factors whose sum over a response's think tokens is that without credit.

    What was taken from the touched steps (gamma < 1) goes in equal parts a token to those above S_base. Of what these
    cannot hold, each touched step keeps an equal share; where there is none, all of it.

    Args:
        gamma_BK: (B, K) factors by Eq. 7.
        scores_BK: (B, K) scores.
        steps: the responses.
        settings: `gamma_ceiling` and those of S_base are read.
    """
    tokens_BK = torch.where(steps.owned_BK, steps.step_lengths_BK, 0).float()
    taken_B = ((1 - gamma_BK) * tokens_BK).sum(dim=1)
    above_BK = steps.owned_BK & (gamma_BK >= 1) & (scores_BK > step_baseline(steps, settings)[:, None])
    room_B = (tokens_BK * above_BK).sum(dim=1)
    held_B = torch.minimum(taken_B, room_B * (settings.gamma_ceiling - 1))
    share_B = torch.where(taken_B > 0, held_B / taken_B, 1.0)
    kept_BK = torch.where(gamma_BK < 1, 1 - share_B[:, None] * (1 - gamma_BK), gamma_BK)
    more_B = torch.where(room_B > 0, held_B / room_B.clamp(min=1), 0.0)
    given_BK = (kept_BK + more_B[:, None]).clamp(max=settings.gamma_ceiling)
    return torch.where(above_BK & (more_B > 0)[:, None], given_BK, kept_BK)


class KeptSum(AttnPO):
    """AttnPO whose credit moves a response's advantage between its steps, so that strength stays the reward's."""

    name = "kept_sum"
    paper = "credit that keeps its sum"
    source = "this project"
    formula = "AttnPO's PA, and what it takes goes to steps above S_base of the same response, up to gamma_ceiling"
    settings_type = KeptSumSettings
    settings: KeptSumSettings

    def gamma(self, steps: StepBatch) -> Tensor:
        """Return (B, K) factors, up to `gamma_ceiling`."""
        return keep_sum(super().gamma(steps), self.step_scores(steps), steps, self.settings)


class KeptSumOracle(LabelScores, KeptSum):
    """The same by labels."""

    name = "kept_sum_oracle"
    paper = "bound of credit that keeps its sum"
    formula = "kept_sum with S = 0 for redundant steps, 2 for essential ones, S_base for undecided ones"
    settings: KeptSumSettings
