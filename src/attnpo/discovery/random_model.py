"""The control that no head set may lose to: the same architecture with random weights."""

from __future__ import annotations

import copy
from typing import Any

import torch


def random_copy(model: Any, seed: int) -> Any:
    """Return a model of the same class, configuration, dtype and device with freshly initialised weights."""
    base = model.get_base_model() if hasattr(model, "get_base_model") else model
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        fresh = type(base)(copy.deepcopy(base.config))
    parameter = next(base.parameters())
    return fresh.to(device=parameter.device, dtype=parameter.dtype)
