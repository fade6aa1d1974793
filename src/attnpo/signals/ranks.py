"""Scores of any unit on the scale of Eq. 6, by their order alone."""

from __future__ import annotations

import torch
from torch import Tensor


@torch.no_grad()
def ranked_scores(
    scores_BK: Tensor, lengths_BK: Tensor, owned_BK: Tensor, answer_lengths_B: Tensor, response_lengths_B: Tensor
) -> Tensor:
    """Return scores that keep the order and have the scale of attention: S = 2 u |F| / |o|.

    u is the share of the response's think tokens that lie in steps of lower score, plus half the share of those in
    steps of the same score. Its mean over think tokens is one half, so the mean score is |F| / |o|, what attention
    spread evenly gives. At pass rate p the bar of Eq. 6 (alpha_base 2) then cuts at u = p ** 2 / 2, whatever the signal
    is: signals compared this way touch about as many tokens, and differ in which.

    Args:
        scores_BK: (B, K) scores of any unit. A NaN stays one, and its step counts for no other.
        lengths_BK: (B, K) integer, tokens of each step.
        owned_BK: (B, K) bool, the steps that own tokens; elsewhere the result is 0.
        answer_lengths_B: (B,) integer, tokens |F| of the final answer; without one, 1 stands for it, so that methods
            that go by order alone still have one.
        response_lengths_B: (B,) integer, tokens |o| of the response.

    Returns:
        (B, K) float32, 0 to 2 max(|F|, 1) / |o|.
    """
    unknown_BK = owned_BK & scores_BK.isnan()
    tokens_BK = torch.where(owned_BK & ~unknown_BK, lengths_BK, 0).float()
    below_BKK = (scores_BK[:, None, :] < scores_BK[:, :, None]).float()
    equal_BKK = (scores_BK[:, None, :] == scores_BK[:, :, None]).float()
    mass_BK = ((2 * below_BKK + equal_BKK) * tokens_BK[:, None, :]).sum(dim=2)
    twice_u_BK = mass_BK / tokens_BK.sum(dim=1).clamp(min=1)[:, None]
    ranked_BK = twice_u_BK * answer_lengths_B.clamp(min=1)[:, None] / response_lengths_B.clamp(min=1)[:, None]
    return torch.where(owned_BK, ranked_BK, 0.0).masked_fill(unknown_BK, float("nan"))
