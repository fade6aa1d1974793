"""Advantages made mean 0 and variance 1 over all response tokens of a generation batch."""

from __future__ import annotations

from typing import Final

import torch
from torch import Tensor

_VARIANCE_EPSILON: Final = 1e-8
"""Added to the variance, as REINFORCE++ and DLER do."""


@torch.no_grad()
def token_moments(
    value_PG: Tensor, tokens_PG: Tensor, more_PG: Tensor | float = 0.0, squares_PG: Tensor | float = 0.0
) -> tuple[Tensor, Tensor]:
    """Return mean and 1 / std, each () float64, of one number a token over all tokens of the batch.

    A token's number is its response's value plus what is the token's own. The variance divides by n - 1.

    Args:
        value_PG: (P, G) value of each response, the same for all of its tokens.
        tokens_PG: (P, G) how many tokens have it.
        more_PG: (P, G) sum over its tokens of what is their own.
        squares_PG: (P, G) sum of the squares of that.
    """
    value_PG, tokens_PG = value_PG.double(), tokens_PG.double()
    count = tokens_PG.sum().clamp(min=1)
    mean = (tokens_PG * value_PG + more_PG).sum() / count
    centered_PG = value_PG - mean
    spread_PG = tokens_PG * centered_PG.square() + 2 * centered_PG * more_PG + squares_PG
    variance = spread_PG.sum().clamp(min=0) / (count - 1).clamp(min=1)
    return mean, (variance + _VARIANCE_EPSILON).rsqrt()


@torch.no_grad()
def whitened(advantages_PG: Tensor, lengths_PG: Tensor, taking_part_PG: Tensor) -> Tensor:
    """Return (P, G) float32 advantages whose mean over tokens is 0 and whose variance is 1.

    Args:
        advantages_PG: (P, G) advantages.
        lengths_PG: (P, G) integer, response lengths in tokens.
        taking_part_PG: (P, G) bool, the responses that count and change; the others keep what they have.
    """
    mean, scale = token_moments(advantages_PG, lengths_PG * taking_part_PG)
    return torch.where(taking_part_PG, (advantages_PG - mean) * scale, advantages_PG).float()
