"""Micro-batches that waste nothing: rows sorted by length, rows without a learning signal left out, padding trimmed.

None of it changes the gradient of an optimizer step: masked positions carry no loss, a row whose advantage is zero adds
exactly zero to it, and the token-mean loss is normalised by a count that TRL took before.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch

from attnpo.credit.layout import TOKEN_VALUE

PREFIX = "attnpo_"
"""Prefix of the tensors that travel through TRL's shuffling and splitting beside its own."""

SAMPLING_LOGPS = f"{PREFIX}sampling_logps"
"""(B, T) log-probabilities that forced tokens were drawn with, NaN elsewhere."""

COMPLETION_KEYS = (
    "completion_ids",
    "completion_mask",
    "advantages",
    "old_per_token_logps",
    "ref_per_token_logps",
    "sampling_per_token_logps",
    "importance_sampling_ratio",
    "tool_mask",
    f"{PREFIX}step_index",
    f"{PREFIX}answer_mask",
    SAMPLING_LOGPS,
)
"""Tensors whose second dimension, where they have one, is the padded response length T."""


def trim_padding(inputs: dict[str, Any]) -> dict[str, Any]:
    """Return a micro-batch without the padding columns that none of its rows uses.

    TRL pads prompts on the left and responses on the right to the longest of the whole generation batch.
    """
    width = max(1, int(inputs["completion_mask"].sum(dim=1).max()))
    prompt_start = inputs["prompt_mask"].size(1) - max(1, int(inputs["prompt_mask"].sum(dim=1).max()))
    full_width = inputs["completion_ids"].size(1)
    trimmed = dict(inputs)
    for name in ("prompt_ids", "prompt_mask"):
        trimmed[name] = inputs[name][:, prompt_start:]
    own = [name for name in inputs if name.startswith(PREFIX + TOKEN_VALUE)]
    for name in (*COMPLETION_KEYS, *own):
        value = inputs.get(name)
        if value is not None and value.dim() > 1 and value.size(1) == full_width:
            trimmed[name] = value[:, :width]
    return trimmed


def rows_with_signal(batches: Sequence[dict[str, Any]]) -> int:
    """Return how many rows of the micro-batches have an advantage other than zero."""
    return sum(int(_has_signal(batch["advantages"]).sum()) for batch in batches)


def rows_to_keep(batches: Sequence[dict[str, Any]], gather: Callable[[torch.Tensor], torch.Tensor]) -> int:
    """Return how many rows every process keeps: as many as the one that needs most, as TRL gathers row by row."""
    return int(gather(torch.tensor([rows_with_signal(batches)], device=batches[0]["advantages"].device)).max())


def pack_micro_batches(batches: Sequence[dict[str, Any]], keep: int | None = None) -> list[dict[str, Any]]:
    """Deal the rows of one optimizer step out anew: longest first, every micro-batch of equal count and like lengths.

    Args:
        batches: the micro-batches of one optimizer step, as TRL split them.
        keep: how many rows to keep, those of zero advantage going first; None keeps all. Only exact where nothing but
            the advantage carries a gradient (no KL term, entropy bonus or router loss), and only if it is at least
            `rows_with_signal`. One row a micro-batch stays in any case.

    Returns:
        As many micro-batches as before, none with more rows than before.
    """
    first = batches[0]
    per_row = [name for name, value in first.items() if isinstance(value, torch.Tensor) and value.dim() > 0]
    merged = {name: torch.cat([batch[name] for batch in batches]) for name in per_row}
    lengths_B = merged["prompt_mask"].sum(dim=1) + merged["completion_mask"].sum(dim=1)
    order_B = lengths_B.argsort(descending=True, stable=True)
    if keep is not None:
        signal_B = _has_signal(merged["advantages"])
        kept_B = signal_B[order_B].int().argsort(descending=True, stable=True)[: max(keep, len(batches))]
        order_B = order_B[kept_B.sort().values]
    return [
        {**first, **{name: value[rows] for name, value in merged.items()}}
        for rows in order_B.tensor_split(len(batches))
    ]


def _has_signal(advantages: torch.Tensor) -> torch.Tensor:
    """(B,) bool: rows of (B,) or (B, T) advantages that are not all zero."""
    return (advantages != 0).flatten(1).any(dim=1) if advantages.dim() > 1 else advantages != 0


def lay_out_log_probs(places: Sequence[Mapping[int, float]], width: int, device: torch.device | str) -> torch.Tensor:
    """Return (B, T) float32 log-probabilities of forced tokens, NaN where a token was drawn from the policy.

    Args:
        places: for each response, place of a token -> log-probability.
        width: T, the padded response length.
        device: where the tensor goes.
    """
    log_probs_BT = torch.full((len(places), width), float("nan"), device=device)
    for row, known in enumerate(places):
        for place, log_prob in known.items():
            log_probs_BT[row, place] = log_prob
    return log_probs_BT
