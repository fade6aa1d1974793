"""Scores of heads on every step of sampled responses, one forward pass a response."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from rich.progress import Progress

from attnpo.attention.headset import Head
from attnpo.attention.reading import read_step_scores
from attnpo.models import forward_arguments
from attnpo.progress import bar
from attnpo.rollouts import Rollout, check_token_ids
from attnpo.sampling import render_prompt


def score_steps(
    model: Any,
    tokenizer: Any,
    rollouts: Sequence[Rollout],
    heads: Sequence[Head] | None = None,
    *,
    batch_size: int = 16,
    progress: Progress | None = None,
    description: str = "scoring heads",
) -> list[NDArray[np.float32]]:
    """Score the steps of segmented responses (AttnPO, Eq. 1), head by head.

    Responses are sorted by length, the longest first, and right-padded. The model is in evaluation mode meanwhile.

    Args:
        model: the causal language model.
        tokenizer: renders the prompts.
        rollouts: segmented responses.
        heads: the heads to read; None reads all, in row-major (layer, head) order, and refuses a model that has
            layers without softmax attention (give `readable_heads(model)` to pass over these).
        batch_size: responses a forward pass.
        progress: display, or None.
        description: text of the progress bar.

    Returns:
        Per response (K steps, N heads) float32.

    Raises:
        DataError: a response holds a token that the model does not know.
        UnsupportedModelError: the model has no attention that can be read.
    """
    scores: dict[int, NDArray[np.float32]] = {}

    def read(batch: Sequence[int], prompts: Sequence[Sequence[int]], pad_id: int) -> None:
        scores_BKN = _score_batch(model, heads, prompts, [rollouts[i] for i in batch], pad_id)
        for row, index in enumerate(batch):
            scores[index] = scores_BKN[row, : len(rollouts[index].steps)]

    read_in_batches(model, tokenizer, rollouts, read, batch_size, progress=progress, description=description)
    return [scores[index] for index in range(len(rollouts))]


def read_in_batches(
    model: Any,
    tokenizer: Any,
    rollouts: Sequence[Rollout],
    read: Callable[[Sequence[int], Sequence[Sequence[int]], int], None],
    batch_size: int,
    *,
    max_tokens: int | None = None,
    progress: Progress | None = None,
    description: str = "",
) -> None:
    """Take all responses through the model, the longest first, in evaluation mode.

    Args:
        model: the causal language model.
        tokenizer: renders the prompts.
        rollouts: the responses.
        read: makes a pass over some of them, given their places, the ids of their prompts and the padding token.
        batch_size: most responses a pass.
        max_tokens: most response tokens a pass, padded; a pass has one response at least. None for no limit.
        progress: display, or None.
        description: text of the progress bar.

    Raises:
        DataError: a response holds a token that the model does not know.
    """
    check_token_ids(rollouts, int(model.config.get_text_config(decoder=True).vocab_size))
    pad_id = tokenizer.pad_token_id if tokenizer.pad_token_id is not None else 0
    prompts = [render_prompt(tokenizer, rollout.prompt, rollout.opening) for rollout in rollouts]
    left = sorted(range(len(rollouts)), key=lambda i: -(len(prompts[i]) + rollouts[i].n_tokens))
    with evaluating(model), bar(progress, description, len(rollouts)) as advance:
        while left:
            size = batch_size
            if max_tokens is not None:
                longest = max(1, *(rollouts[i].n_tokens for i in left[:batch_size]))
                size = min(size, max(1, max_tokens // longest))
            batch, left = left[:size], left[size:]
            read(batch, [prompts[i] for i in batch], pad_id)
            advance(len(batch))


@torch.no_grad()
def _score_batch(
    model: Any,
    heads: Sequence[Head] | None,
    prompts: Sequence[Sequence[int]],
    rollouts: Sequence[Rollout],
    pad_id: int,
) -> NDArray[np.float32]:
    rows = [list(p) + list(r.response_ids) for p, r in zip(prompts, rollouts, strict=True)]
    shape = (len(rows), max(len(row) for row in rows))
    input_ids_BL = torch.full(shape, pad_id)
    attention_mask_BL = torch.zeros(shape, dtype=torch.long)
    step_index_BL = torch.full(shape, -1)
    answer_mask_BL = torch.zeros(shape, dtype=torch.bool)
    for b, (row, prompt, rollout) in enumerate(zip(rows, prompts, rollouts, strict=True)):
        input_ids_BL[b, : len(row)] = torch.tensor(row)
        attention_mask_BL[b, : len(row)] = 1
        offset = len(prompt)
        for k, step in enumerate(rollout.steps):
            step_index_BL[b, offset + step.tokens[0] : offset + step.tokens[1]] = k
        answer_mask_BL[b, offset + rollout.answer_tokens[0] : offset + rollout.answer_tokens[1]] = True
    device = next(model.parameters()).device
    input_ids_BL, attention_mask_BL, step_index_BL, answer_mask_BL = (
        tensor.to(device) for tensor in (input_ids_BL, attention_mask_BL, step_index_BL, answer_mask_BL)
    )
    # Attention is all that is wanted: where the model can, the logits are computed for one position only.
    few_logits = {"logits_to_keep": 1} if "logits_to_keep" in forward_arguments(model) else {}
    num_steps = max(len(rollout.steps) for rollout in rollouts)
    with read_step_scores(
        model, heads, step_index_BL, answer_mask_BL, attention_mask_BL, num_steps=num_steps
    ) as reading:
        model(input_ids=input_ids_BL, attention_mask=attention_mask_BL, use_cache=False, **few_logits)
    return reading.scores_BKN.float().cpu().numpy()


@contextmanager
def evaluating(model: torch.nn.Module) -> Iterator[None]:
    """Hold a model in evaluation mode."""
    # Module by module: a model may be trained with a part of it held in evaluation mode.
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        yield
    finally:
        for module, was_training in modes:
            module.training = was_training
