"""A key/value cache that grows in blocks (one token more costs one token's copy), and that takes in and drops rows."""

from __future__ import annotations

from typing import Any

import torch
from transformers import DynamicCache
from transformers.cache_utils import DynamicLayer, DynamicSlidingWindowLayer

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

    def append_rows(self, keys: torch.Tensor, values: torch.Tensor, length: int) -> None:
        """Add rows below; what is shorter than `length` gets empty positions on the left."""
        self._buffers = (_stacked(self.keys, keys, length), _stacked(self.values, values, length))
        self.keys, self.values = (buffer[..., :length, :] for buffer in self._buffers)

    def _holds(self, end: int) -> bool:
        assert self._buffers is not None
        keys, _ = self._buffers
        return self.keys.data_ptr() == keys.data_ptr() and self.keys.shape[0] == keys.shape[0] and end <= keys.shape[-2]


def _room(filled: torch.Tensor, length: int) -> torch.Tensor:
    buffer = filled.new_empty(*filled.shape[:-2], length, filled.shape[-1])
    buffer[..., : filled.shape[-2], :] = filled
    return buffer


def _stacked(upper: torch.Tensor, lower: torch.Tensor, length: int, room: int = BLOCK) -> torch.Tensor:
    """Return the rows of both, right-aligned at `length`, with room for more positions after it."""
    rows = upper.shape[0]
    buffer = upper.new_zeros(rows + lower.shape[0], upper.shape[1], length + room, upper.shape[-1])
    buffer[:rows, :, length - upper.shape[-2] : length] = upper
    buffer[rows:, :, length - lower.shape[-2] : length] = lower
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


def can_append(cache: DynamicCache) -> bool:
    """Return whether rows can be added to a cache and its first positions dropped: plain and sliding layers only."""
    return all(type(layer) in (GrowingLayer, DynamicSlidingWindowLayer) for layer in cache.layers)


def append_rows(cache: DynamicCache, other: DynamicCache) -> None:
    """Add the rows of another cache of the same model; the shorter of both gets empty positions on the left.

    The caller masks those positions out. `can_append` must hold for both.
    """
    for own, new in zip(cache.layers, other.layers, strict=True):
        if not own.is_initialized or not new.is_initialized:
            continue  # a layer that shares another one's keys and values
        length = max(own.get_seq_length(), new.get_seq_length())
        if isinstance(own, GrowingLayer):
            own.append_rows(new.keys, new.values, length)
            continue
        stored = min(length, own.sliding_window - 1)
        own.keys = _stacked(own.keys, new.keys, stored, room=0)
        own.values = _stacked(own.values, new.values, stored, room=0)
        own.cumulative_length = length


def drop_first(cache: DynamicCache, positions: int) -> None:
    """Drop the first positions of every row; `can_append` must hold."""
    for layer in cache.layers:
        if not layer.is_initialized:
            continue
        if isinstance(layer, GrowingLayer):
            layer.keys, layer.values = layer.keys[..., positions:, :], layer.values[..., positions:, :]
            continue
        layer.cumulative_length -= positions
        stored = min(layer.cumulative_length, layer.sliding_window - 1)
        start = layer.keys.shape[-2] - stored
        layer.keys, layer.values = layer.keys[..., start:, :], layer.values[..., start:, :]


def cache_bytes(cache: DynamicCache) -> int:
    """Return the bytes of all keys and values a cache holds."""
    tensors = [t for layer in cache.layers if layer.is_initialized for t in (layer.keys, layer.values)]
    return sum(t.numel() * t.element_size() for t in tensors)
