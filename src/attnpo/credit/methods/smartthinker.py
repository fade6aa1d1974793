"""SmartThinker: correct responses pay for what they are longer than the length at which answers are likeliest right."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal, get_args

import torch
from torch import Tensor

from attnpo.credit.batches import GroupBatch
from attnpo.credit.checks import one_of, setting
from attnpo.credit.methods.base import Method
from attnpo.credit.rewards import outcome_rewards
from attnpo.credit.selection import moments
from attnpo.credit.settings import GRPOSettings

Against = Literal["all", "wrong"]
_EQUAL: Final = 1e-6
"""Variances, or lengths in tokens, that differ by less differ by rounding alone."""


@dataclass(frozen=True)
class SmartThinkerSettings(GRPOSettings):
    """Settings of SmartThinker."""

    against: Against = setting(
        "all",
        one_of(*get_args(Against)),
        "Whose lengths the correct ones' are held against: all (the released code) or wrong (as notes have it).",
    )


class SmartThinker(Method):
    """r = 1[correct] (1 - Lambda l), l = max(0, L - L*) (arXiv 2603.08000, official code), with GRPO's advantage.

    With normal lengths of mean m and variance v among the correct responses (1) and among all (2), the correct ones'
    share is greatest at L* = (v1 m2 - v2 m1) / (v1 - v2), held within the group's lengths; where v1 > v2 there is no
    greatest and L* is the shortest length, where they are equal it is the longest if m1 < m2, else the shortest.
    Lambda = (1 - p) / (max l - mean l), mean over the whole group with l = 0 for wrong responses, so that the
    advantage of the longest correct one falls to 0 and no further; 0 where all are right, or all wrong.

    Published with 8 responses of at most 8,192 tokens to 64 prompts, temperature 0.6, no KL, learning rate 1e-6.
    """

    name = "smartthinker"
    paper = "SmartThinker"
    arxiv = "2603.08000"
    source = "official code"
    formula = "r = 1[correct] (1 - Lambda max(0, L - L*)), Lambda = (1 - p) / (max l - mean l); GRPO"
    settings_type = SmartThinkerSettings
    settings: SmartThinkerSettings

    @torch.no_grad()
    def rewards(self, groups: GroupBatch) -> Tensor:
        """Return (P, G) rewards."""
        correct_PG, lengths_PG = groups.correct_PG.bool(), groups.lengths_PG.double()
        others_PG = ~correct_PG if self.settings.against == "wrong" else torch.ones_like(correct_PG)
        excess_PG = (lengths_PG - likeliest_length(lengths_PG, correct_PG, others_PG)) * correct_PG
        excess_PG = torch.where(excess_PG > _EQUAL, excess_PG, 0.0)  # a rounded L* is not to be divided by
        room_P1 = excess_PG.amax(dim=1, keepdim=True) - excess_PG.mean(dim=1, keepdim=True)
        wrong_P1 = 1 - correct_PG.double().mean(dim=1, keepdim=True)
        price_P1 = torch.where(room_P1 > 0, wrong_P1 / room_P1, 0.0)
        return (outcome_rewards(groups.correct_PG) - price_P1 * excess_PG).float()


@torch.no_grad()
def likeliest_length(lengths_PG: Tensor, correct_PG: Tensor, others_PG: Tensor) -> Tensor:
    """Return (P, 1) float64 L*; any length where no response is correct, or none is among the others.

    Args:
        lengths_PG: (P, G) float64, in tokens.
        correct_PG: (P, G) bool, the verdicts.
        others_PG: (P, G) bool, whose lengths the correct ones' are held against.
    """
    (mean_P1, variance_P1), (mean2_P1, variance2_P1) = (moments(lengths_PG, who) for who in (correct_PG, others_PG))
    shortest_P1, longest_P1 = lengths_PG.amin(dim=1, keepdim=True), lengths_PG.amax(dim=1, keepdim=True)
    wider_P1 = variance_P1 - variance2_P1
    crossing_P1 = (variance_P1 * mean2_P1 - variance2_P1 * mean_P1) / torch.where(wider_P1 == 0, 1.0, wider_P1)
    best_P1 = torch.where(wider_P1 > 0, shortest_P1, crossing_P1.maximum(shortest_P1).minimum(longest_P1))
    equal_P1 = torch.where(mean_P1 < mean2_P1, longest_P1, shortest_P1)
    return torch.where(wider_P1.abs() < _EQUAL, equal_P1, best_P1)
