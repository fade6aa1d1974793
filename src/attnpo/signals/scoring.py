"""Scores of signals on every step of responses at hand, one forward pass a response for all signals together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from rich.progress import Progress
from torch import Tensor

from attnpo.attention.scoring import evaluating
from attnpo.credit.layout import lay_out, lay_out_tokens
from attnpo.progress import bar
from attnpo.rollouts import Rollout, check_token_ids
from attnpo.sampling import render_prompt
from attnpo.signals.base import Seen, Signal
from attnpo.signals.passes import look, wants_logits

StepScores = list[NDArray[np.float32]]
"""Per response (K,) scores of its steps."""
MAX_LOGITS = 2**28
"""Logits of a pass held at once; longer responses and larger vocabularies get fewer rows."""


def known_scores(signals: Sequence[Signal], rollouts: Sequence[Rollout]) -> dict[str, StepScores]:
    """Score the steps of segmented responses by signals that read no pass, as `score_signals` does.

    Args:
        signals: the signals.
        rollouts: segmented responses, labelled where a signal reads labels.

    Raises:
        DataError: a signal reads a pass.
    """
    seen = Seen.of(_laid_out(rollouts, range(len(rollouts)))) if rollouts else None
    return {signal.name: [] if seen is None else _unpadded(signal.score(seen), rollouts) for signal in signals}


def score_signals(
    model: Any,
    tokenizer: Any,
    rollouts: Sequence[Rollout],
    signals: Sequence[Signal],
    *,
    batch_size: int = 16,
    temperature: float = 1.0,
    progress: Progress | None = None,
    description: str = "scoring signals",
) -> dict[str, StepScores]:
    """Score the steps of segmented responses by several signals in one pass over each response.

    The model is in evaluation mode meanwhile. The longest responses go first; a pass has fewer rows than asked where
    logits are wanted and would not fit (`MAX_LOGITS`).

    Args:
        model: the causal language model.
        tokenizer: renders the prompts.
        rollouts: segmented responses, labelled where a signal reads labels.
        signals: the signals, of different names; no pass is made where none reads one.
        batch_size: responses a forward pass.
        temperature: softmax temperature of log-probabilities and entropies.
        progress: display, or None.
        description: text of the progress bar.

    Returns:
        By the signal's name, per response (K,) float32 in the signal's own unit.

    Raises:
        DataError: a response holds a token that the model does not know, or lacks what a signal reads.
        UnsupportedModelError: the model has no attention that can be read.
    """
    if not any(signal.is_read_in_a_pass for signal in signals):
        return known_scores(signals, rollouts)
    config = model.config.get_text_config(decoder=True)
    check_token_ids(rollouts, int(config.vocab_size))
    pad_id = tokenizer.pad_token_id if tokenizer.pad_token_id is not None else 0
    prompts = [render_prompt(tokenizer, rollout.prompt, rollout.opening) for rollout in rollouts]
    device = next(model.parameters()).device
    found: dict[str, dict[int, NDArray[np.float32]]] = {signal.name: {} for signal in signals}
    left = sorted(range(len(rollouts)), key=lambda i: -(len(prompts[i]) + rollouts[i].n_tokens))
    with evaluating(model), bar(progress, description, len(rollouts)) as advance:
        while left:
            longest = max(rollouts[i].n_tokens for i in left[:batch_size])
            room = max(1, MAX_LOGITS // (longest * config.vocab_size)) if wants_logits(signals) else batch_size
            batch, left = left[: min(batch_size, room)], left[min(batch_size, room) :]
            here = [rollouts[i] for i in batch]
            tensors = _laid_out(here, batch, device)
            ids = [rollout.response_ids for rollout in here]
            looked = look(model, signals, [prompts[i] for i in batch], ids, tensors, pad_id, temperature)
            for signal, seen in zip(signals, looked, strict=True):
                found[signal.name] |= dict(zip(batch, _unpadded(signal.score(seen), here), strict=True))
            advance(len(batch))
    return {name: [rows_of[i] for i in range(len(rollouts))] for name, rows_of in found.items()}


def _laid_out(
    rollouts: Sequence[Rollout], row_ids: Sequence[int], device: torch.device | str = "cpu"
) -> Mapping[str, Tensor]:
    width = max(rollout.n_tokens for rollout in rollouts)
    labelled = any(step.label for rollout in rollouts for step in rollout.steps)
    tensors = lay_out(rollouts, [0] * len(rollouts), row_ids, device, labelled=labelled)
    return tensors | lay_out_tokens(rollouts, width, device)


def _unpadded(scores_BK: Tensor, rollouts: Sequence[Rollout]) -> StepScores:
    rows = scores_BK.float().cpu().numpy()
    return [row[: len(rollout.steps)] for row, rollout in zip(rows, rollouts, strict=True)]
