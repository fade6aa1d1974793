"""Bytes of sampling on a training device."""

from __future__ import annotations

from attnpo.training.estimate.shapes import ModelShape


def cache_bytes(shape: ModelShape, responses: int, length: int, value_bytes: int) -> int:
    """Return the bytes of keys and values of `responses` sequences of `length` tokens, windows of layers respected."""
    return (
        responses
        * value_bytes
        * sum(width * (length if window is None else min(length, window)) for width, window in shape.cache_widths)
    )


def vllm_bytes(device_bytes: int, share: float) -> int:
    """Return what a colocated vLLM engine takes for itself: its share of the whole device."""
    return int(device_bytes * share)


def vllm_sequences(
    shape: ModelShape, share_bytes: int, length: int, tensor_parallel: int, value_bytes: int = 2
) -> float:
    """Return how many sequences of `length` tokens a colocated engine's cache holds at once.

    Below 1 the engine refuses to start. Its own buffers are not counted.

    Args:
        shape: the model; it holds a copy of the weights of its own.
        share_bytes: what the engine takes of a device.
        length: tokens a sequence.
        tensor_parallel: devices that share one engine.
        value_bytes: bytes a weight and a cached number.
    """
    left = share_bytes * tensor_parallel - shape.parameters * value_bytes
    return left / cache_bytes(shape, 1, length, value_bytes)
