"""Advantages of whole responses within their group (AttnPO, Eq. 4)."""

from __future__ import annotations

import torch
from torch import Tensor

from attnpo.credit.settings import AdvantageName

_STD_EPSILON = 1e-4
"""Added to the standard deviation, as TRL does: a group of equal rewards keeps advantage 0."""


def _sum_of_differences(rewards_PG: Tensor) -> Tensor:
    # Differences, not the mean: equal rewards give exactly 0, so rounding never gives an advantage a sign.
    rewards_PG = rewards_PG.float()
    return (rewards_PG[:, :, None] - rewards_PG[:, None, :]).sum(dim=2)


@torch.no_grad()
def rloo_advantages(rewards_PG: Tensor) -> Tensor:
    """Reward minus the mean of the others: A_i = r_i - 1/(G-1) * sum over j != i of r_j (AttnPO, Eq. 4).

    Equal rewards (all right with equal lengths, all wrong) give exactly 0, as does a group of one response,
    which has nothing to be compared with.

    Args:
        rewards_PG: (P, G) rewards.

    Returns:
        (P, G) float32; each group sums to 0.
    """
    return _sum_of_differences(rewards_PG) / max(rewards_PG.shape[1] - 1, 1)


@torch.no_grad()
def grpo_advantages(rewards_PG: Tensor) -> Tensor:
    """Reward minus the group's mean (GRPO, arXiv 2402.03300, before its scaling).

    Args:
        rewards_PG: (P, G) rewards.

    Returns:
        (P, G) float32; (G-1)/G of RLOO's, with the same edges.
    """
    return _sum_of_differences(rewards_PG) / max(rewards_PG.shape[1], 1)


@torch.no_grad()
def group_advantages(rewards_PG: Tensor, advantage: AdvantageName, scale: bool = False) -> Tensor:
    """Return (P, G) float32 advantages of either kind.

    Args:
        rewards_PG: (P, G) rewards.
        advantage: "rloo" or "grpo".
        scale: divide by the group's standard deviation (of a sample, n - 1, as in TRL) plus 1e-4.
    """
    advantages_PG = rloo_advantages(rewards_PG) if advantage == "rloo" else grpo_advantages(rewards_PG)
    return advantages_PG / advantage_scale(rewards_PG) if scale else advantages_PG


@torch.no_grad()
def advantage_scale(rewards_PG: Tensor) -> Tensor:
    """Return (P, 1) float32, what scaled advantages are divided by: 1 for groups of one response."""
    if rewards_PG.shape[1] == 1:
        return torch.ones_like(rewards_PG, dtype=torch.float32)
    return rewards_PG.float().std(dim=1, keepdim=True) + _STD_EPSILON
