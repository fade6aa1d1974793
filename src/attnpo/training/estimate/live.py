"""Bytes of tensors that are alive, counted while a pass is made on tensors without data."""

from __future__ import annotations

import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_iter


class LiveBytes(TorchDispatchMode):
    """Counts the storages made while it is active, each once, until they are freed.

    Attributes:
        live: bytes alive now.
        peak: most bytes alive at once since the last `mark`.
    """

    def __init__(self) -> None:
        super().__init__()
        self.live = 0
        self.peak = 0
        self._counted: weakref.WeakKeyDictionary[Any, weakref.finalize | None] = weakref.WeakKeyDictionary()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        for value in tree_iter(result):
            if isinstance(value, torch.Tensor):
                self._count(value.untyped_storage())
        return result

    def mark(self) -> None:
        """Start a new peak from what is alive now."""
        self.peak = self.live

    def leave_out(self, tensor: torch.Tensor) -> None:
        """Never count a tensor made before, nor views of it."""
        self._counted[tensor.untyped_storage()] = None

    def set_aside(self, tensor: torch.Tensor) -> None:
        """Count a tensor no longer; for what is counted elsewhere, such as accumulated gradients."""
        finalizer = self._counted.get(tensor.untyped_storage())
        if finalizer is not None and finalizer.alive:
            finalizer()

    def _count(self, storage: Any) -> None:
        if storage in self._counted:
            return
        size = storage.nbytes()
        self.live += size
        self.peak = max(self.peak, self.live)
        self._counted[storage] = weakref.finalize(storage, self._free, size)

    def _free(self, size: int) -> None:
        self.live -= size


@contextmanager
def gradients_set_aside(live: LiveBytes, model: torch.nn.Module) -> Iterator[None]:
    """Leave a parameter's gradient out of the count once it has been accumulated."""

    def aside(parameter: torch.Tensor) -> None:
        assert parameter.grad is not None
        live.set_aside(parameter.grad)

    hooks = [p.register_post_accumulate_grad_hook(aside) for p in model.parameters() if p.requires_grad]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()
