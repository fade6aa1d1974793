"""One forward pass over texts of different lengths."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor


def last_logits(model: Any, pad_id: int, texts: Sequence[Sequence[int]], kept: int) -> Tensor:
    """Return (B, kept, V) float32 logits of the last `kept` places of texts padded on the left."""
    width = max(map(len, texts))
    ids = torch.tensor([[pad_id] * (width - len(text)) + list(text) for text in texts], device=model.device)
    mask = torch.tensor([[0] * (width - len(text)) + [1] * len(text) for text in texts], device=model.device)
    positions = (mask.cumsum(1) - 1).clamp(min=0)
    output = model(input_ids=ids, attention_mask=mask, position_ids=positions, use_cache=False, logits_to_keep=kept)
    logits: Tensor = output.logits[:, -kept:].float()
    return logits
