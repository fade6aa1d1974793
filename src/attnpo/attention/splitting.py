"""Layouts that split what a head's attention row is made of: refused, since each process would see a part of it."""

from __future__ import annotations

from typing import Any

from torch import nn
from transformers import PreTrainedModel

from attnpo.errors import ConfigError, UnsupportedModelError

DIMENSIONS = {
    "tp": ("tensor parallelism", "heads"),
    "cp": ("context parallelism", "keys"),
    "sp": ("sequence parallelism", "keys"),
}
"""Dimensions of a device mesh that split attention: what they are called, and what they split."""


def check_parallelism(model: nn.Module | None = None, parallelism: Any = None) -> None:
    """Refuse a layout that splits heads or keys over processes.

    Data parallelism (DDP), sharded parameters (FSDP, ZeRO) and expert parallelism leave every attention row whole and
    pass.

    Args:
        model: the model, which states how it was split when it was loaded (`tp_plan`, `DistributedConfig`).
        parallelism: accelerate's `ParallelismConfig`, or None.

    Raises:
        ConfigError: `parallelism` splits heads or keys; the message names the setting.
        UnsupportedModelError: the model was loaded with its heads or layers split.
    """
    for name, (what, split) in DIMENSIONS.items():
        size = getattr(parallelism, f"{name}_size", None) or 1
        if size > 1:
            raise ConfigError(
                f"parallelism_config: {name}_size={size} ({what}) splits the {split} of attention over processes,"
                f" which are read whole; set {name}_size to 1 and share the model out with FSDP2 or ZeRO"
            )
    base = None if model is None else next((m for m in model.modules() if isinstance(m, PreTrainedModel)), None)
    if base is None:
        return
    loaded = getattr(base.config, "distributed_config", None)
    tensor = max(getattr(base, "_tp_size", None) or 1, getattr(loaded, "tp_size", None) or 1)
    # An empty plan splits experts only.
    if tensor > 1 and getattr(loaded, "tp_plan", None) != {}:
        raise UnsupportedModelError(
            f"{type(base).__name__} was loaded with its heads split over {tensor} processes (tensor parallelism,"
            " tp_plan); load it without, and share it out with FSDP2 or ZeRO"
        )
    stages = getattr(loaded, "pp_size", None) or 1
    if stages > 1:
        raise UnsupportedModelError(
            f"{type(base).__name__} was loaded in {stages} pipeline stages, each of which holds some layers only;"
            " load it with pp_size=1, and share it out with FSDP2 or ZeRO"
        )
