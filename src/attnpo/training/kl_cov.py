"""KL-Cov: the few tokens that cost the policy most of its entropy are held where they were."""

from __future__ import annotations

import torch
from torch import Tensor


@torch.no_grad()
def with_kl_cov(
    advantages: Tensor, logps_BT: Tensor, old_logps_BT: Tensor, mask_BT: Tensor, share: float, weight: float
) -> Tensor:
    """Return (B, T) advantages under which the policy loss is -ratio A + weight |log ratio| on the tokens chosen.

    KL-Cov (arXiv 2505.22617, as DOT uses it, arXiv 2601.03969): of the tokens of a micro-batch, the share with the
    highest (A - mean A)(log pi - mean log pi), at least one. TRL's loss reads advantages and nothing else, and the
    gradient of weight |log ratio| is that of -ratio A' with A' = -weight sign(log ratio) / ratio, so the gradient is
    exact where the ratio is not clipped; the loss that is logged is not the published one. While the policy is the one
    that sampled, log ratio is 0 and nothing changes: it acts with several updates a batch.

    Args:
        advantages: (B,) or (B, T) advantages.
        logps_BT: log-probability of each token under the policy.
        old_logps_BT: under the policy that sampled.
        mask_BT: the tokens that count.
        share: of the tokens.
        weight: of |log ratio|.
    """
    mask_BT = mask_BT.bool()
    advantages_BT = (advantages[:, None] if advantages.dim() == 1 else advantages).expand(mask_BT.shape)
    count = int(mask_BT.sum())
    if count == 0:
        return advantages_BT
    centered_A, centered_p = (v - v[mask_BT].mean() for v in (advantages_BT.float(), logps_BT.float()))
    covariance_BT = (centered_A * centered_p).masked_fill(~mask_BT, -torch.inf)
    chosen = covariance_BT.flatten().topk(max(1, int(share * count))).indices
    chosen_BT = torch.zeros_like(mask_BT).flatten().index_fill(0, chosen, True).view_as(mask_BT)
    log_ratio_BT = (logps_BT - old_logps_BT).float()
    pull_BT = weight * log_ratio_BT.sign() * (-log_ratio_BT).exp()
    return torch.where(chosen_BT, advantages_BT - pull_BT, advantages_BT)
