"""Hidden states of steps, read where a layer's attention takes them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from attnpo.attention import readable_heads
from attnpo.attention.hook import find_decoder
from attnpo.signals.base import Places


@dataclass
class StateReading:
    """What one pass said; `means_BKD` is there once it is over."""

    means_BKD: Tensor | None = None


def probed_layer(model: Any) -> int:
    """Return the layer that is probed unless another is asked for: two thirds up.

    Raises:
        UnsupportedModelError: no layer can be read.
    """
    layers = sorted({head.layer for head in readable_heads(model)[0]})
    return layers[min(2 * len(layers) // 3, len(layers) - 1)]


@contextmanager
def read_states(model: Any, layer: int, places: Places) -> Iterator[StateReading]:
    """Read, in one forward pass, the mean over each step's tokens of what a layer's attention is given.

    That is the normalised residual stream before the layer. Float32, 0 where a step owns no token.

    Args:
        model: a transformers decoder, bare or wrapped.
        layer: the layer, counted from 0.
        places: where steps lie.
    """
    reading = StateReading()

    def keep(module: torch.nn.Module, args: tuple[Any, ...], options: dict[str, Any]) -> None:
        states_BLD = args[0] if args else options["hidden_states"]
        reading.means_BKD = _means(states_BLD.detach(), places)

    handle = find_decoder(model).attention[layer].register_forward_pre_hook(keep, with_kwargs=True)
    try:
        yield reading
    finally:
        handle.remove()


@torch.no_grad()
def _means(states_BLD: Tensor, places: Places) -> Tensor:
    index_BL = places.step_index_BL.to(states_BLD.device).long() + 1  # place 0 takes what lies outside the steps
    shape = (len(states_BLD), places.num_steps + 1)
    sums_BKD = torch.zeros(*shape, states_BLD.shape[2], device=states_BLD.device)
    sums_BKD.scatter_add_(1, index_BL[:, :, None].expand_as(states_BLD), states_BLD.float())
    tokens_BK = torch.zeros(shape, device=states_BLD.device)
    tokens_BK.scatter_add_(1, index_BL, torch.ones_like(index_BL, dtype=torch.float32))
    return (sums_BKD / tokens_BK.clamp(min=1)[:, :, None])[:, 1:]
