"""Credits for parts of a response: the verdict's on some steps, the length's on what is still to come."""

from __future__ import annotations

import torch
from torch import Tensor

from attnpo.credit.advantages import rloo_advantages
from attnpo.credit.rescaling import token_advantages


@torch.no_grad()
def whole_response(values_B: Tensor, group_size: int) -> Tensor:
    """Return (B,) float32 leave-one-out advantages of a number of each response.

    Spread over all its tokens, the mean of their gradient is that of the number's expectation (RLOO, Eq. 4).
    """
    return rloo_advantages(values_B.reshape(-1, group_size)).reshape(-1)


@torch.no_grad()
def kept_share(scores_BK: Tensor, baseline_B: Tensor) -> Tensor:
    """Return (B, K) shares min(1, S / S_base) that steps keep; 1 where the baseline (Eq. 6) is 0."""
    baseline_B1 = baseline_B[:, None]
    return torch.where(baseline_B1 > 0, scores_BK / baseline_B1.clamp(min=1e-12), 1.0).clamp(max=1.0)


@torch.no_grad()
def on_steps(advantages_B: Tensor, share_BK: Tensor, step_index_BT: Tensor) -> Tensor:
    """Return (B, T) advantages, those of a step's tokens times its share, right and wrong responses alike."""
    return token_advantages(advantages_B, share_BK, step_index_BT)


@torch.no_grad()
def still_to_come(costs_BT: Tensor, lengths_B: Tensor, group_size: int) -> Tensor:
    """Return (B, T) advantages: minus what a response still costs from a token on, against others of its group there.

    The baseline at a position is the mean over the others of the group that are as long; without one it is 0. It knows
    nothing of the response itself, so the mean gradient is that of the whole cost if a token's cost is decided by what
    stands before it and by itself: true of length; nearly of redundant tokens, whose label later text may change.

    Args:
        costs_BT: (B, T) cost of each token, 0 behind the response.
        lengths_B: (B,) tokens of each response.
        group_size: G.
    """
    size, width = costs_BT.shape
    left_BT = costs_BT.float().flip(1).cumsum(1).flip(1)
    alive_BT = (torch.arange(width, device=costs_BT.device) < lengths_B[:, None]).float()
    left_PGT = (left_BT * alive_BT).reshape(size // group_size, group_size, width)
    alive_PGT = alive_BT.reshape_as(left_PGT)
    others_PGT = (alive_PGT.sum(dim=1, keepdim=True) - alive_PGT).clamp(min=0)
    baseline_PGT = (left_PGT.sum(dim=1, keepdim=True) - left_PGT) / others_PGT.clamp(min=1)
    return (alive_PGT * (baseline_PGT - left_PGT)).reshape(size, width)
