"""Rewards of whole responses (AttnPO, Eq. 3)."""

from __future__ import annotations

import torch
from torch import Tensor


@torch.no_grad()
def outcome_rewards(correct_PG: Tensor) -> Tensor:
    """Return (P, G) float32 rewards 1[o_i correct]."""
    return correct_PG.float()


@torch.no_grad()
def length_z_scores(correct_PG: Tensor, lengths_PG: Tensor, sample: bool = False) -> Tensor:
    """Standardize lengths by the correct responses of their group: z_i = (len(o_i) - mean) / std.

    Mean and (population) standard deviation are taken over the group's correct responses. z is exactly 0 in a
    group with no or one correct response, and where all correct responses have one length.

    Args:
        correct_PG: (P, G) bool, the verdicts.
        lengths_PG: (P, G) integer, response lengths in tokens, or another count.
        sample: take the standard deviation of a sample (n - 1) instead.

    Returns:
        (P, G) float32; defined for incorrect responses too, which no reward reads.
    """
    correct_PG = correct_PG.bool()
    lengths_PG = lengths_PG.long()
    count_P1 = correct_PG.sum(dim=1, keepdim=True)
    total_P1 = (lengths_PG * correct_PG).sum(dim=1, keepdim=True)
    # count * (len - mean) in whole numbers: equal lengths give exactly 0, however long they are.
    deviation_PG = (count_P1 * lengths_PG - total_P1).float()
    variance_P1 = (deviation_PG.square() * correct_PG).sum(dim=1, keepdim=True) / (count_P1 - int(sample)).clamp(min=1)
    return torch.where(variance_P1 > 0, deviation_PG / variance_P1.sqrt(), 0.0)


@torch.no_grad()
def tlmre_rewards(correct_PG: Tensor, lengths_PG: Tensor, alpha_len: float) -> Tensor:
    """Reward correct responses, short ones more: r_i = 1[o_i correct] * (1 - alpha_len * sigmoid(z_i)).

    AttnPO, Eq. 3; TLMRE (arXiv 2502.04463). All wrong: every reward is 0. One correct response, or equal
    lengths: its z is 0 and its reward 1 - alpha_len / 2. `alpha_len = 0` gives the outcome reward.

    Args:
        correct_PG: (P, G) bool, the verdicts.
        lengths_PG: (P, G) integer, response lengths in tokens.
        alpha_len: weight of the length term, in [0, 1].

    Returns:
        (P, G) float32, in [1 - alpha_len, 1] for correct responses, 0 for the others.
    """
    z_PG = length_z_scores(correct_PG, lengths_PG)
    return outcome_rewards(correct_PG) * (1 - alpha_len * z_PG.sigmoid())
