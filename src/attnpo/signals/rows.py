"""Reading the attention rows of whole responses in a few layers, for signals that ask more than the answer's."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Any, Final

from torch import Tensor

from attnpo.attention import Head, StepReading, read_step_scores, readable_heads
from attnpo.attention.hook import find_decoder
from attnpo.attention.reduction import Reduce
from attnpo.signals.base import Places

LAYERS: Final = 5
"""Layers that are read: rows of every token cost as much as the layer's own logits."""


def middle_heads(model: Any) -> list[Head]:
    """Return every head of five layers of the model's middle third, evenly spaced; of fewer where there are fewer.

    Layers without attention that can be read are passed over; where the middle third has none, all layers count.

    Raises:
        UnsupportedModelError: no layer can be read.
    """
    heads, _ = readable_heads(model)
    depth = find_decoder(model).config.num_hidden_layers
    every = sorted({head.layer for head in heads})
    middle = [layer for layer in every if depth // 3 <= layer < -(-2 * depth // 3)] or every
    count = min(LAYERS, len(middle))
    last = len(middle) - 1
    chosen = {middle[round(i * last / max(count - 1, 1))] for i in range(count)}
    return [head for head in heads if head.layer in chosen]


def read_rows(model: Any, places: Places, reduce: Reduce) -> AbstractContextManager[StepReading]:
    """Read the rows of every token from the first step to the end of the response, in `middle_heads`."""
    return read_step_scores(
        model,
        middle_heads(model),
        places.step_index_BL,
        response_tokens(places),
        attention_mask_BL=places.attention_mask_BL,
        num_steps=places.num_steps,
        answer_chunk=places.answer_chunk,
        reduce=reduce,
    )


def response_tokens(places: Places) -> Tensor:
    """Return (B, L) bool, the tokens from the first step on; none in a row without steps."""
    started_BL = (places.step_index_BL >= 0).cummax(dim=1).values
    return started_BL & places.attention_mask_BL.bool()
