"""Reading a signal inside a forward pass over prompts and responses that somebody makes anyway."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import pad

from attnpo.attention import StepReading
from attnpo.models import forward_arguments, token_statistics
from attnpo.signals.base import Places, Seen, Signal


@dataclass
class SignalReading:
    """What a signal reads in one pass; `seen` and `credit_scores` may be asked once the pass is over."""

    signal: Signal
    tensors: Mapping[str, Tensor]
    reading: Any = None

    @property
    def logits(self) -> tuple[int, int]:
        """Attention logits computed for the signal alone, and those of the pass itself; zeros where it reads none."""
        return self.reading.logits if isinstance(self.reading, StepReading) else (0, 0)

    def seen(self, log_probs_BT: Tensor | None, entropies_BT: Tensor | None) -> Seen:
        """Return what the signal scores by, given the pass's log-probabilities and entropies of response tokens."""
        return Seen.of(
            self.tensors,
            log_probs_BT=None if log_probs_BT is None else log_probs_BT.detach(),
            entropies_BT=None if entropies_BT is None else entropies_BT.detach(),
            reading=self.reading,
        )

    def credit_scores(self, log_probs_BT: Tensor | None, entropies_BT: Tensor | None) -> Tensor:
        """Return (B, K) scores as credit takes them."""
        return self.signal.credit_scores(self.seen(log_probs_BT, entropies_BT))


@contextmanager
def read_signal(
    model: Any, signal: Signal, tensors: Mapping[str, Tensor], attention_mask_BL: Tensor, answer_chunk: int = 64
) -> Iterator[SignalReading]:
    """Read a signal off the next forward pass of `model`, whose rows end in the responses.

    Args:
        model: the causal language model.
        signal: the signal.
        tensors: the responses as `attnpo.credit.layout` lays them out, padded to T tokens.
        attention_mask_BL: of the pass's rows, L - T tokens of prompt before them.
        answer_chunk: most queries whose attention rows are held at once.
    """
    prompt_width = attention_mask_BL.size(1) - tensors["step_index"].size(1)
    places = Places(
        step_index_BL=pad(tensors["step_index"], (prompt_width, 0), value=-1),
        answer_mask_BL=pad(tensors["answer_mask"], (prompt_width, 0), value=False),
        attention_mask_BL=attention_mask_BL,
        num_steps=tensors["step_mask"].size(1),
        answer_chunk=answer_chunk,
    )
    with signal.attach(model, places) as reading:
        yield SignalReading(signal, tensors, reading)


@torch.no_grad()
def look(
    model: Any,
    signals: Sequence[Signal],
    prompt_ids: Sequence[Sequence[int]],
    response_ids: Sequence[Sequence[int]],
    tensors: Mapping[str, Tensor],
    pad_id: int,
    temperature: float = 1.0,
    answer_chunk: int = 64,
) -> list[Seen]:
    """Make one forward pass over responses for signals alone, and return what each may score by.

    Prompts are padded on the left, responses on the right.

    Args:
        model: the causal language model, in the mode it is to be read in.
        signals: the signals.
        prompt_ids: what the model read, a row each.
        response_ids: what it wrote.
        tensors: the responses as `attnpo.credit.layout` lays them out, padded to T tokens.
        pad_id: padding token.
        temperature: softmax temperature of log-probabilities and entropies.
        answer_chunk: most queries whose attention rows are held at once.
    """
    before, width = max(map(len, prompt_ids)), tensors["step_index"].size(1)
    ids_BL = torch.full((len(prompt_ids), before + width), pad_id)
    mask_BL = torch.zeros(ids_BL.shape, dtype=torch.long)
    for b, (prompt, response) in enumerate(zip(prompt_ids, response_ids, strict=True)):
        place = slice(before - len(prompt), before + len(response))
        ids_BL[b, place] = torch.tensor([*prompt, *response])
        mask_BL[b, place] = 1
    device = next(model.parameters()).device
    ids_BL, mask_BL = ids_BL.to(device), mask_BL.to(device)
    asks_logits = wants_logits(signals)
    # Where the model can, logits are computed for the response alone, or for one place where nobody wants them.
    options = {
        "logits_to_keep": width + 1 if asks_logits else 1,
        "position_ids": (mask_BL.cumsum(1) - 1).clamp(min=0),
    }
    known = forward_arguments(model)
    options = {name: value for name, value in options.items() if name in known}
    with ExitStack() as stack:
        readings = [stack.enter_context(read_signal(model, s, tensors, mask_BL, answer_chunk)) for s in signals]
        output = model(input_ids=ids_BL, attention_mask=mask_BL, use_cache=False, **options)
    log_probs_BT = entropies_BT = None
    if asks_logits:
        logits_BTV = output.logits[:, -width - 1 : -1]
        log_probs_BT, _, entropies_BT = token_statistics(logits_BTV, ids_BL[:, -width:], temperature)
    return [reading.seen(log_probs_BT, entropies_BT) for reading in readings]


def wants_logits(signals: Sequence[Signal]) -> bool:
    """Whether a signal reads log-probabilities or entropies."""
    return any({"log-probabilities", "entropies"} & set(signal.needs) for signal in signals)
