"""Heads by how far they look: what FAI and WAAD have in common."""

from __future__ import annotations

import math
from typing import Final

import torch
from torch import Tensor

from attnpo.attention.reduction import Chunk, Rows

SHARE: Final = 0.3
"""Share of the heads that count as far-sighted, and as near-sighted."""


class SpanSum:
    """Mean distance at which each head looks back, over the queries of a row, summed up chunk by chunk."""

    def __init__(self, rows: Rows, heads: int, length: int, like: Tensor) -> None:
        self.place_L = torch.arange(length, device=like.device)
        self.total_RN = torch.zeros(len(rows.answer_counts), heads, device=like.device)
        self.queries_R = torch.zeros(len(rows.answer_counts), device=like.device)

    def add(self, chunk: Chunk) -> tuple[Tensor, Tensor]:
        """Add a chunk; return its probabilities (R, N, C, L), 0 for repeated queries, and distances (R, 1, C, L)."""
        active = len(chunk.index_RC)
        probabilities_RNCL = chunk.probabilities_RNCL * chunk.counted_RNC.unsqueeze(-1)
        distance_R1CL = (chunk.index_RC[:, None, :, None] - self.place_L).to(probabilities_RNCL.dtype)
        self.total_RN[:active] += (probabilities_RNCL * distance_R1CL).sum(dim=(2, 3)).float()
        self.queries_R[:active] += chunk.valid_RC.sum(dim=1).float()
        return probabilities_RNCL, distance_R1CL

    def below(self, scores_BKN: Tensor, rows: Rows) -> Tensor:
        """Return (B, K + 1, N): the scores, and the heads' spans in a row below them."""
        span_B1N = scores_BKN.new_zeros(len(scores_BKN), 1, scores_BKN.shape[2])
        span_B1N[rows.row_R, 0] = self.total_RN / self.queries_R.clamp(min=1)[:, None]
        return torch.cat([scores_BKN, span_B1N], dim=1)


def mean_over_heads(read_BKN: Tensor, far: bool) -> Tensor:
    """Return (B, K) means over the 30 % of heads, at least one, with the largest span, or the smallest.

    Every response chooses for itself, so that no row depends on another.

    Args:
        read_BKN: (B, K + 1, N), as `SpanSum.below` makes it, of all layers.
        far: whether the far-sighted heads count, or the near-sighted ones.
    """
    scores_BKN, span_BN = read_BKN[:, :-1], read_BKN[:, -1]
    count = max(1, math.ceil(SHARE * span_BN.shape[1] - 1e-9))
    chosen_BC = span_BN.topk(count, dim=1, largest=far).indices
    return scores_BKN.gather(2, chosen_BC[:, None, :].expand(-1, scores_BKN.shape[1], -1)).mean(dim=2)
