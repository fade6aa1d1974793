"""One forward pass over texts of different lengths."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor


def forward_arguments(model: Any) -> frozenset[str]:
    """Return what a model's own forward pass takes by name; a PEFT model hands on what it does not name itself."""
    own = model.get_base_model() if hasattr(model, "get_base_model") else model
    return frozenset(inspect.signature(own.forward).parameters)


def last_logits(model: Any, pad_id: int, texts: Sequence[Sequence[int]], kept: int) -> Tensor:
    """Return (B, kept, V) float32 logits of the last `kept` places of texts padded on the left."""
    width = max(map(len, texts))
    ids = torch.tensor([[pad_id] * (width - len(text)) + list(text) for text in texts], device=model.device)
    mask = torch.tensor([[0] * (width - len(text)) + [1] * len(text) for text in texts], device=model.device)
    positions = (mask.cumsum(1) - 1).clamp(min=0)
    output = model(input_ids=ids, attention_mask=mask, position_ids=positions, use_cache=False, logits_to_keep=kept)
    logits: Tensor = output.logits[:, -kept:].float()
    return logits


@torch.no_grad()
def token_statistics(
    logits_BTV: Tensor, ids_BT: Tensor, temperature: float = 1.0, at_once: int = 2**24
) -> tuple[Tensor, Tensor, Tensor]:
    """Return what a model thought of tokens, (B, T) float32 each.

    Args:
        logits_BTV: logits that each token was drawn from (those of the place before it).
        ids_BT: the tokens.
        temperature: softmax temperature of sampling.
        at_once: most logits held in float32 at once.

    Returns:
        log-probability of each token; that of the likeliest token in its place; entropy in nats of its distribution.
    """
    rows_NV, ids_N = logits_BTV.flatten(0, 1), ids_BT.flatten()
    size = max(1, at_once // rows_NV.shape[1])
    found: list[tuple[Tensor, Tensor, Tensor]] = []
    for start in range(0, max(1, len(ids_N)), size):
        scaled_CV = rows_NV[start : start + size].float() / temperature
        log_probs_CV = torch.log_softmax(scaled_CV, dim=-1)
        own_C = log_probs_CV.gather(1, ids_N[start : start + size, None])[:, 0]
        entropy_C = torch.special.entr(torch.softmax(scaled_CV, dim=-1)).sum(dim=-1)
        found.append((own_C, log_probs_CV.amax(dim=-1), entropy_C))
    own, likeliest, entropies = (torch.cat(parts).view(ids_BT.shape) for parts in zip(*found, strict=True))
    return own, likeliest, entropies
