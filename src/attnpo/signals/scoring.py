"""Scores of signals on every step of responses at hand, one forward pass a response for all signals together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from rich.progress import Progress
from torch import Tensor

from attnpo.attention import Head, check_readable, readable_heads
from attnpo.attention.batches import read_in_batches
from attnpo.credit.layout import lay_out, lay_out_tokens
from attnpo.errors import ConfigError
from attnpo.rollouts import Rollout
from attnpo.signals.base import Seen, Signal
from attnpo.signals.heads import EachHead
from attnpo.signals.passes import look, wants_logits

StepScores = list[NDArray[np.float32]]
"""Per response (K,) scores of its steps, or (K, N) of N heads."""
MAX_LOGITS = 2**28
"""Logits of a pass held at once; longer responses and larger vocabularies get fewer rows."""


def known_scores(
    signals: Sequence[Signal], rollouts: Sequence[Rollout], first_row_id: int = 0
) -> dict[str, StepScores]:
    """Score the steps of segmented responses by signals that read no pass, as `score_signals` does.

    Args:
        signals: the signals.
        rollouts: segmented responses, labelled where a signal reads labels.
        first_row_id: number of the first response; the others follow.

    Raises:
        ConfigError: two signals go by one name.
        DataError: a signal reads a pass.
    """
    _check_names(signals)
    row_ids = range(first_row_id, first_row_id + len(rollouts))
    seen = Seen.of(_laid_out(rollouts, row_ids, are_labelled(rollouts))) if rollouts else None
    return {signal.name: [] if seen is None else _unpadded(signal.score(seen), rollouts) for signal in signals}


def score_signals(
    model: Any,
    tokenizer: Any,
    rollouts: Sequence[Rollout],
    signals: Sequence[Signal],
    *,
    batch_size: int = 16,
    temperature: float = 1.0,
    first_row_id: int = 0,
    progress: Progress | None = None,
    description: str = "scoring steps",
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
        first_row_id: number of the first response, the others follow; with a signal's seed it decides what it draws.
        progress: display, or None.
        description: text of the progress bar.

    Returns:
        By the signal's name, per response (K,) float32 in the signal's own unit; of `EachHead` (K steps, N heads).

    Raises:
        ConfigError: two signals go by one name.
        DataError: a response holds a token that the model does not know, or lacks what a signal reads.
        UnsupportedModelError: the model has no attention that can be read.
    """
    if not any(signal.is_read_in_a_pass for signal in signals):
        return known_scores(signals, rollouts, first_row_id)
    _check_names(signals)
    for signal in signals:
        signal.check(model)
    labelled = are_labelled(rollouts)
    device = next(model.parameters()).device
    found: dict[str, dict[int, NDArray[np.float32]]] = {signal.name: {} for signal in signals}

    def read(batch: Sequence[int], prompts: Sequence[Sequence[int]], pad_id: int) -> None:
        here = [rollouts[i] for i in batch]
        tensors = _laid_out(here, [first_row_id + i for i in batch], labelled, device)
        ids = [rollout.response_ids for rollout in here]
        for signal, seen in zip(signals, look(model, signals, prompts, ids, tensors, pad_id, temperature), strict=True):
            found[signal.name] |= dict(zip(batch, _unpadded(signal.score(seen), here), strict=True))

    read_in_batches(
        model,
        tokenizer,
        rollouts,
        read,
        batch_size,
        max_tokens=MAX_LOGITS // model.config.get_text_config(decoder=True).vocab_size
        if wants_logits(signals)
        else None,
        progress=progress,
        description=description,
    )
    return {name: [rows_of[i] for i in range(len(rollouts))] for name, rows_of in found.items()}


def score_steps(
    model: Any,
    tokenizer: Any,
    rollouts: Sequence[Rollout],
    heads: Sequence[Head] | None = None,
    *,
    batch_size: int = 16,
    progress: Progress | None = None,
    description: str = "scoring heads",
) -> StepScores:
    """Score the steps of segmented responses head by head (AttnPO, Eq. 1): `score_signals` for heads alone.

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
        HeadSetError: a head does not exist or is listed twice, or no head is given.
    """
    if heads is None:
        check_readable(model)
        heads = readable_heads(model)[0]
    reader = EachHead(heads)
    found = score_signals(
        model, tokenizer, rollouts, [reader], batch_size=batch_size, progress=progress, description=description
    )
    return found[reader.name]


def are_labelled(rollouts: Sequence[Rollout]) -> bool:
    """Whether a step of any of them has a label; true where there is no step."""
    steps = [step for rollout in rollouts for step in rollout.steps]
    return not steps or any(step.label for step in steps)


def _check_names(signals: Sequence[Signal]) -> None:
    names = [signal.name for signal in signals]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise ConfigError(f"signals: two go by the name {twice[0]!r}; give each class a `name` of its own")


def _laid_out(
    rollouts: Sequence[Rollout], row_ids: Sequence[int], labelled: bool, device: torch.device | str = "cpu"
) -> Mapping[str, Tensor]:
    width = max(rollout.n_tokens for rollout in rollouts)
    tensors = lay_out(rollouts, [0] * len(rollouts), row_ids, device, labelled=labelled)
    return tensors | lay_out_tokens(rollouts, width, device)


def _unpadded(scores_BK: Tensor, rollouts: Sequence[Rollout]) -> StepScores:
    rows = scores_BK.float().cpu().numpy()
    return [row[: len(rollout.steps)] for row, rollout in zip(rows, rollouts, strict=True)]
