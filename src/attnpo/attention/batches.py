"""Responses taken through a model in batches, for what somebody reads of the passes."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from rich.progress import Progress

from attnpo.progress import bar
from attnpo.rollouts import Rollout, check_token_ids
from attnpo.sampling import render_prompt


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
