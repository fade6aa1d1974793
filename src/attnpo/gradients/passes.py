"""Gradients of several credits from one forward pass: a backward pass each."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from attnpo.gradients.projection import flat
from attnpo.models import last_logits

LogProbs = Callable[[Sequence[int]], Tensor]
"""Of some responses of a batch, by number: (b, T) log-probabilities of their tokens with a graph, 0 behind them."""


def response_log_probs(
    model: Any,
    pad_id: int,
    prompts: Sequence[Sequence[int]],
    responses: Sequence[Sequence[int]],
    temperature: float = 1.0,
) -> Tensor:
    """Return (B, T) float32 log-probabilities of sampled tokens, 0 behind a response; gradients flow.

    Args:
        model: causal language model, in the mode it is to be read in.
        pad_id: padding token.
        prompts: token ids.
        responses: token ids; T is the longest.
        temperature: softmax temperature that they were sampled at.
    """
    texts = [[*prompt, *response] for prompt, response in zip(prompts, responses, strict=True)]
    kept = max(map(len, responses)) + 1
    logits_BLV = last_logits(model, pad_id, texts, kept) / temperature
    rows = []
    for row_LV, response in zip(logits_BLV, responses, strict=True):
        # The logits at a place are those of the token after it.
        logits_TV = row_LV[kept - len(response) - 1 : kept - 1]
        ids_T1 = torch.tensor(list(response), device=logits_TV.device)[:, None]
        found_T = logits_TV.gather(1, ids_T1)[:, 0] - logits_TV.logsumexp(dim=1)
        rows.append(torch.nn.functional.pad(found_T, (0, kept - 1 - len(response))))
    return torch.stack(rows)


def credit_gradients(
    log_probs: LogProbs,
    sizes: Sequence[int],
    parameters: Sequence[Tensor],
    advantages_RBT: Tensor,
    micro_batch: int,
    take: Callable[[int, Tensor], None],
) -> None:
    """Make one forward pass and R backward passes over a batch, some responses at a time.

    Hands on, for each credit r, parts of the gradient of sum over tokens of advantage * log-probability, divided by the
    number of responses; they add up to it.

    Args:
        log_probs: makes the forward pass of some responses.
        sizes: tokens that are read for each response; those of like size share a pass, those without any advantage
            are left out.
        parameters: what is differentiated by.
        advantages_RBT: (R, B, T) advantages.
        micro_batch: responses a forward pass.
        take: gets r and a (D,) float32 part.
    """
    moved_B = (advantages_RBT != 0).any(dim=2).any(dim=0).tolist()
    rows = sorted((row for row, moved in enumerate(moved_B) if moved), key=lambda row: -sizes[row])
    size = advantages_RBT.shape[1]
    for start in range(0, len(rows), micro_batch):
        some = rows[start : start + micro_batch]
        log_probs_BT = log_probs(some)
        weights_RBT = advantages_RBT[:, some, : log_probs_BT.shape[1]].to(log_probs_BT) / size
        for r, weights_BT in enumerate(weights_RBT):
            last = r == len(weights_RBT) - 1
            found = torch.autograd.grad(log_probs_BT, parameters, weights_BT, retain_graph=not last, allow_unused=True)
            take(r, flat(found, parameters))
