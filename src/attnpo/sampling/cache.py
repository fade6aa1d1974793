"""A key/value cache that grows in blocks: one token more costs one token's copy, not the whole cache's."""

from __future__ import annotations

from typing import Any

import torch
from transformers import DynamicCache
from transformers.cache_utils import DynamicLayer

BLOCK = 64
"""Positions added at a time."""


class GrowingLayer(DynamicLayer):
    """`DynamicLayer` whose tensors are views into larger buffers.

    Whatever replaces `keys` and `values` (selecting rows, cropping) is noticed, and a new buffer is made then.
    """

    keys: torch.Tensor
    values: torch.Tensor
    _buffers: tuple[torch.Tensor, torch.Tensor] | None = None

    def update(
        self, key_states: torch.Tensor, value_states: torch.Tensor, *args: Any, **kwargs: Any
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Append keys and values, (B, heads, new, width) each, and return all of them."""
        if not self.is_initialized or self.get_seq_length() == 0:
            return super().update(key_states, value_states, *args, **kwargs)
        length = self.keys.shape[-2]
        end = length + key_states.shape[-2]
        if self._buffers is None or not self._holds(end):
            self._buffers = (_room(self.keys, end + BLOCK), _room(self.values, end + BLOCK))
        keys, values = self._buffers
        keys[..., length:end, :] = key_states
        values[..., length:end, :] = value_states
        self.keys, self.values = keys[..., :end, :], values[..., :end, :]
        return self.keys, self.values

    def _holds(self, end: int) -> bool:
        assert self._buffers is not None
        keys, _ = self._buffers
        return self.keys.data_ptr() == keys.data_ptr() and self.keys.shape[0] == keys.shape[0] and end <= keys.shape[-2]


def _room(filled: torch.Tensor, length: int) -> torch.Tensor:
    buffer = filled.new_empty(*filled.shape[:-2], length, filled.shape[-1])
    buffer[..., : filled.shape[-2], :] = filled
    return buffer


def growing_cache(config: Any) -> DynamicCache:
    """Return transformers' own cache for a model, its plain growing layers replaced by `GrowingLayer`.

    Layers of other kinds (sliding windows, state-space) stay what they are.
    """
    cache = DynamicCache(config=config)
    cache.layers = [GrowingLayer() if type(layer) is DynamicLayer else layer for layer in cache.layers]
    if getattr(cache, "layer_class_to_replicate", None) is DynamicLayer:
        cache.layer_class_to_replicate = GrowingLayer
    return cache
