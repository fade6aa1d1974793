"""Reading step scores inside passes that training makes anyway, and the tensors that travel to them beside TRL's."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import torch
from torch import Tensor

from attnpo.signals import Signal, SignalReading, look, read_signal
from attnpo.training.packing import PREFIX, SAMPLING_LOGPS

STEP_INDEX = f"{PREFIX}step_index"
Output = tuple[Tensor, Tensor | None, Tensor | None]
"""What a pass gives: (B, T) log-probabilities, (B, T) entropies, auxiliary loss."""
MakePass = Callable[[slice], Output]
"""Makes a pass over some rows."""
HoldTokens = Callable[[Tensor, Tensor, Tensor, Tensor], Tensor]
"""(advantages, log-probabilities, those of the sampling policy, mask) -> advantages."""
Read = Callable[[Mapping[str, Tensor], slice], AbstractContextManager[SignalReading]]
"""Reads step scores of some rows, laid out in a round's tensors, inside one forward pass."""


def signal_reader(
    model: Any, signal: Signal, attention_mask_BL: Tensor, answer_chunk: int, count_logits: Callable[[int, int], None]
) -> Read:
    """Return what reads a signal in passes over prompts and responses.

    Args:
        model: the policy.
        signal: what scores the steps.
        attention_mask_BL: of the passes' rows.
        answer_chunk: most queries whose attention is held at once.
        count_logits: is told what each reading computed of attention (`StepReading.logits`).
    """

    @contextmanager
    def read(tensors: Mapping[str, Tensor], rows: slice) -> Iterator[SignalReading]:
        here = {name: tensor[rows] for name, tensor in tensors.items()}
        with read_signal(model, signal, here, attention_mask_BL[rows], answer_chunk) as reading:
            yield reading
        count_logits(*reading.logits)

    return read


def read_sampling_pass(
    make_pass: MakePass, read: Read, tensors: Mapping[str, Tensor], size: int, micro_batch: int
) -> tuple[Output, Tensor]:
    """Make a pass of `size` rows, `micro_batch` at a time, and return with it the (B, K) step scores."""
    scores, parts = [], []
    for start in range(0, size, micro_batch):
        rows = slice(start, start + micro_batch)
        with read(tensors, rows) as reading:
            parts.append(make_pass(rows))
        scores.append(reading.credit_scores(*parts[-1][:2]))
    logps, entropies, aux_losses = zip(*parts, strict=True)
    output = (
        torch.cat(logps),
        None if entropies[0] is None else torch.cat(entropies),
        None if aux_losses[0] is None else torch.stack(aux_losses).mean(),
    )
    return output, torch.cat(scores)


def read_extra_pass(
    model: Any,
    signal: Signal,
    prompt_ids: Sequence[Sequence[int]],
    response_ids: Sequence[Sequence[int]],
    tensors: Mapping[str, Tensor],
    pad_id: int,
    micro_batch: int,
    answer_chunk: int,
    temperature: float,
) -> Tensor:
    """Make a pass for the scores alone, and return the (B, K) step scores.

    Args:
        model: the policy.
        signal: what scores the steps.
        prompt_ids: what the model read, a row each.
        response_ids: what it wrote.
        tensors: a round's tensors.
        pad_id: padding token.
        micro_batch: rows in a forward pass.
        answer_chunk: most queries whose attention is held at once.
        temperature: softmax temperature of sampling.
    """
    scores = []
    for start in range(0, len(prompt_ids), micro_batch):
        rows = slice(start, start + micro_batch)
        here = {name: tensor[rows] for name, tensor in tensors.items()}
        (seen,) = look(model, [signal], prompt_ids[rows], response_ids[rows], here, pad_id, temperature, answer_chunk)
        scores.append(signal.credit_scores(seen))
    return torch.cat(scores)


def read_loss_pass(
    make_pass: MakePass,
    read: Read | None,
    inputs: dict[str, Any],
    credit: Callable[[dict[str, Tensor], Tensor, Tensor], Tensor],
    hold_tokens: HoldTokens | None = None,
) -> Output:
    """Make the pass whose gradient is taken, and put into a micro-batch what the loss reads after it.

    Args:
        make_pass: makes it.
        read: reads its step scores; None where the method has no use for any.
        inputs: the micro-batch. `advantages` become those of tokens where it carries a round's tensors; where it
            carries log-probabilities of forced tokens, they take the place of the policy's own.
        credit: (a round's tensors, outcome advantages (B,), step scores (B, K)) -> (B, T) advantages.
        hold_tokens: changes the advantages by what the pass says of the tokens.
    """
    everything = slice(None)
    if STEP_INDEX in inputs and read is not None:
        tensors = {name.removeprefix(PREFIX): value for name, value in inputs.items() if name.startswith(PREFIX)}
        with read(tensors, everything) as reading:
            output = make_pass(everything)
        inputs["advantages"] = credit(tensors, inputs["advantages"], reading.credit_scores(*output[:2]))
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
