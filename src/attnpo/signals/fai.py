"""Future attention influence (FAI): who is looked at later."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import Any, Final

import torch
from torch import Tensor

from attnpo.attention.hook import AttentionCall
from attnpo.attention.reduction import Rows, mean_over_steps, probability_chunks
from attnpo.signals.base import Places, Seen, Signal
from attnpo.signals.rows import middle_heads, read_rows
from attnpo.signals.spans import SpanSum, mean_over_heads

NEAREST, FARTHEST = 10, 50
"""Distances in tokens at which a later token counts."""
ROWS_COST: Final = "attention rows of the whole response, 5 layers"


class FutureInfluence(Signal):
    """The more far-sighted heads come back to a step, the more it deserves to be kept.

    FAI(n) = mean over later tokens m, n + 10 <= m <= n + 50 inside the response, of a[m -> n]; a step scores the mean
    of its tokens, over the 30 % of heads with the largest mean distance in five layers of the model's middle third
    (arXiv 2510.13554, which gives tokens of the top 40 % a gamma of 1.5 where A >= 0). A token that nobody can look
    back at counts 0.
    """

    name = "fai"
    paper = "Attention Illuminates LLM Reasoning"
    arxiv = "2510.13554"
    source = "secondary notes"
    formula = "mean attention to s from 10 to 50 tokens later, far-sighted heads"
    needs = ("attention",)
    extra_cost = ROWS_COST

    def check(self, model: Any) -> None:
        """Check that some layer has attention that can be read."""
        middle_heads(model)

    def attach(self, model: Any, places: Places) -> AbstractContextManager[Any]:
        """Read the rows of the whole response."""
        return read_rows(model, places, _influence)

    def score(self, seen: Seen) -> Tensor:
        """Return (B, K) mean attention."""
        return mean_over_heads(seen.reading.scores_BKN, far=True)


def _influence(call: AttentionCall, heads: Sequence[int], heads_N: Tensor, rows: Rows, answer_chunk: int) -> Tensor:
    """Return (B, K + 1, N): FAI of each step, and each head's span."""
    length = call.key_BJLD.shape[2]
    spans = SpanSum(rows, len(heads), length, call.key_BJLD)
    received_RNL = torch.zeros(len(rows.answer_counts), len(heads), length, device=call.key_BJLD.device)
    askers_R1L = torch.zeros(len(rows.answer_counts), 1, length, device=call.key_BJLD.device)
    for chunk in probability_chunks(call, heads, heads_N, rows, answer_chunk):
        probabilities_RNCL, distance_R1CL = spans.add(chunk)
        counts_R1CL = (distance_R1CL >= NEAREST) & (distance_R1CL <= FARTHEST)
        active = len(chunk.index_RC)
        received_RNL[:active] += (probabilities_RNCL * counts_R1CL).sum(dim=2).float()
        askers_R1L[:active] += (counts_R1CL * chunk.valid_RC[:, None, :, None]).sum(dim=2).float()
    return spans.below(mean_over_steps(received_RNL / askers_R1L.clamp(min=1), rows), rows)
