"""Windowed average attention distance (WAAD): who looks back."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import Any

import torch
from torch import Tensor

from attnpo.attention.hook import AttentionCall
from attnpo.attention.reduction import Rows, probability_chunks
from attnpo.signals.base import Places, Seen, Signal
from attnpo.signals.fai import ROWS_COST
from attnpo.signals.rows import middle_heads, read_rows
from attnpo.signals.spans import SpanSum, mean_over_heads

WINDOW = 10
"""Distance in tokens beyond which looking back counts no more."""


class WindowedDistance(Signal):
    """The farther near-sighted heads look back from a step, the more it deserves to be kept: there a new chunk begins.

    WAAD(m) = sum over n of a[m -> n] min(m - n, 10); a step scores the mean of its tokens, over the 30 % of heads with
    the smallest mean distance in five layers of the model's middle third (arXiv 2510.13554).
    """

    name = "waad"
    paper = "Attention Illuminates LLM Reasoning"
    arxiv = "2510.13554"
    source = "secondary notes"
    formula = "mean distance, at most 10, that s looks back, near-sighted heads"
    needs = ("attention",)
    extra_cost = ROWS_COST

    def check(self, model: Any) -> None:
        """Check that some layer has attention that can be read."""
        middle_heads(model)

    def attach(self, model: Any, places: Places) -> AbstractContextManager[Any]:
        """Read the rows of the whole response."""
        return read_rows(model, places, _distance)

    def score(self, seen: Seen) -> Tensor:
        """Return (B, K) mean distances in tokens."""
        return mean_over_heads(seen.reading.scores_BKN, far=False)


def _distance(call: AttentionCall, heads: Sequence[int], heads_N: Tensor, rows: Rows, answer_chunk: int) -> Tensor:
    """Return (B, K + 1, N): WAAD of each step, and each head's span."""
    spans = SpanSum(rows, len(heads), call.key_BJLD.shape[2], call.key_BJLD)
    sums_RNK = torch.zeros(len(rows.answer_counts), len(heads), rows.num_steps + 1, device=call.key_BJLD.device)
    for chunk in probability_chunks(call, heads, heads_N, rows, answer_chunk):
        probabilities_RNCL, distance_R1CL = spans.add(chunk)
        back_RNC = (probabilities_RNCL * distance_R1CL.clamp(max=WINDOW)).sum(dim=3).float()
        active = len(chunk.index_RC)
        step_RC = rows.step_index_RL[:active].gather(1, chunk.index_RC)  # K where the query belongs to no step
        sums_RNK[:active].scatter_add_(2, step_RC[:, None, :].expand_as(back_RNC), back_RNC)
    scores_RKN = (sums_RNK[..., : rows.num_steps] / rows.step_length_RK[:, None, :]).transpose(1, 2)
    scores_BKN = scores_RKN.new_zeros(rows.batch_size, *scores_RKN.shape[1:])
    scores_BKN[rows.row_R] = scores_RKN
    return spans.below(scores_BKN, rows)
