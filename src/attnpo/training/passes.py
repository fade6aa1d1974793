"""Reading step scores inside passes that training makes anyway, and the tensors that travel to them beside TRL's."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any

import torch
from torch import Tensor

from attnpo.attention import read_step_scores
from attnpo.training.packing import PREFIX, SAMPLING_LOGPS

STEP_INDEX = f"{PREFIX}step_index"
Output = tuple[Tensor, Tensor | None, Tensor | None]
"""What a pass gives: (B, T) log-probabilities, (B, T) entropies, auxiliary loss."""
MakePass = Callable[[slice], Output]
"""Makes a pass over some rows."""
HoldTokens = Callable[[Tensor, Tensor, Tensor, Tensor], Tensor]
"""(advantages, log-probabilities, those of the sampling policy, mask) -> advantages."""
Read = Callable[[Mapping[str, Tensor], slice], AbstractContextManager[Any]]
"""Reads step scores of some rows, laid out in a round's tensors, inside one forward pass."""


def score_reader(
    model: Any,
    heads: Sequence[Any],
    input_ids_BL: Tensor,
    attention_mask_BL: Tensor,
    answer_chunk: int,
) -> Read:
    """Return what reads the scores of `heads` in passes over these ids, prompt and response."""

    def read(tensors: Mapping[str, Tensor], rows: slice) -> AbstractContextManager[Any]:
        step_index_BT, answer_mask_BT = tensors["step_index"][rows], tensors["answer_mask"][rows]
        prompt_width = input_ids_BL.size(1) - step_index_BT.size(1)
        return read_step_scores(
            model,
            heads,
            torch.nn.functional.pad(step_index_BT, (prompt_width, 0), value=-1),
            torch.nn.functional.pad(answer_mask_BT, (prompt_width, 0), value=False),
            attention_mask_BL=attention_mask_BL[rows],
            num_steps=tensors["step_mask"].size(1),
            answer_chunk=answer_chunk,
        )

    return read


def read_sampling_pass(
    make_pass: MakePass, read: Read, tensors: Mapping[str, Tensor], size: int, micro_batch: int
) -> tuple[Output, Tensor]:
    """Make a pass of `size` rows, `micro_batch` at a time, and return with it the (B, K, N) step scores."""
    scores, parts = [], []
    for start in range(0, size, micro_batch):
        rows = slice(start, start + micro_batch)
        with read(tensors, rows) as reading:
            parts.append(make_pass(rows))
        scores.append(reading.scores_BKN)
    logps, entropies, aux_losses = zip(*parts, strict=True)
    output = (
        torch.cat(logps),
        None if entropies[0] is None else torch.cat(entropies),
        None if aux_losses[0] is None else torch.stack(aux_losses).mean(),
    )
    return output, torch.cat(scores)


@torch.no_grad()
def read_extra_pass(
    model: Any,
    heads: Sequence[Any],
    prompt_ids: Sequence[Sequence[int]],
    response_ids: Sequence[Sequence[int]],
    tensors: Mapping[str, Tensor],
    pad_id: int,
    micro_batch: int,
    answer_chunk: int,
) -> Tensor:
    """Make a pass for the scores alone, over rows laid out as TRL does, and return the (B, K, N) step scores.

    Args:
        model: the policy.
        heads: the heads to read.
        prompt_ids: what the model read, a row each.
        response_ids: what it wrote.
        tensors: a round's tensors.
        pad_id: padding token; prompts are padded on the left, responses on the right.
        micro_batch: rows in a forward pass.
        answer_chunk: most answer tokens whose attention is held at once.
    """
    device, prompt_width, width = model.device, max(map(len, prompt_ids)), tensors["step_index"].size(1)
    rows = list(zip(prompt_ids, response_ids, strict=True))

    def padded(rows: Sequence[tuple[Sequence[int], Sequence[int]]], fill: int) -> Tensor:
        table = [[fill] * (prompt_width - len(p)) + [*p, *r] + [fill] * (width - len(r)) for p, r in rows]
        return torch.tensor(table, device=device)

    input_ids_BL = padded(rows, pad_id)
    mask_BL = padded([([1] * len(prompt), [1] * len(response)) for prompt, response in rows], 0)

    def make_pass(rows: slice) -> Output:
        ids_BL = input_ids_BL[rows]
        model(input_ids=ids_BL, attention_mask=mask_BL[rows], use_cache=False, logits_to_keep=1)
        return ids_BL.new_zeros(len(ids_BL)), None, None

    read = score_reader(model, heads, input_ids_BL, mask_BL, answer_chunk)
    return read_sampling_pass(make_pass, read, tensors, len(rows), micro_batch)[1]


def read_loss_pass(
    make_pass: MakePass,
    read: Read,
    inputs: dict[str, Any],
    credit: Callable[[dict[str, Tensor], Tensor, Tensor], Tensor],
    hold_tokens: HoldTokens | None = None,
) -> Output:
    """Make the pass whose gradient is taken, and put into a micro-batch what the loss reads after it.

    Args:
        make_pass: makes it.
        read: reads its step scores.
        inputs: the micro-batch. `advantages` become those of tokens where it carries a round's tensors; where it
            carries log-probabilities of forced tokens, they take the place of the policy's own.
        credit: (a round's tensors, outcome advantages (B,), step scores (B, K, N)) -> (B, T) advantages.
        hold_tokens: changes the advantages by what the pass says of the tokens.
    """
    everything = slice(None)
    if STEP_INDEX in inputs:
        tensors = {name.removeprefix(PREFIX): value for name, value in inputs.items() if name.startswith(PREFIX)}
        with read(tensors, everything) as reading:
            output = make_pass(everything)
        inputs["advantages"] = credit(tensors, inputs["advantages"], reading.scores_BKN)
    else:
        output = make_pass(everything)
    if SAMPLING_LOGPS in inputs:
        known_BT, old_BT = inputs[SAMPLING_LOGPS], inputs.get("old_per_token_logps")
        old_BT = output[0].detach() if old_BT is None else old_BT
        inputs["old_per_token_logps"] = torch.where(known_BT.isnan(), old_BT, known_BT.to(old_BT.dtype))
    if hold_tokens is not None:
        logps_BT, old_BT = output[0].detach(), inputs.get("old_per_token_logps")
        old_BT = logps_BT if old_BT is None else old_BT
        inputs["advantages"] = hold_tokens(inputs["advantages"], logps_BT, old_BT, inputs["completion_mask"])
    return output
