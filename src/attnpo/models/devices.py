"""What a model computes on, and in which type."""

from __future__ import annotations

from typing import Final

import torch

from attnpo.errors import ConfigError, nearest
from attnpo.processor import cpu_computes_in_bfloat16

DTYPES: Final = ("auto", "float32", "bfloat16", "float16")


def find_device(name: str) -> str:
    """Return the device that a `--device` value stands for.

    Raises:
        ConfigError: this machine has none of that name.
    """
    accelerator = torch.accelerator.current_accelerator() if torch.accelerator.is_available() else None
    counts = {"cpu": 1} | ({} if accelerator is None else {accelerator.type: torch.accelerator.device_count()})
    if name == "auto":
        return list(counts)[-1]
    kind, colon, index = name.partition(":")
    if kind not in counts or (colon and not (index.isdecimal() and int(index) < counts[kind])):
        here = [f"{kind} ({kind}:0 to {kind}:{count - 1})" if count > 1 else kind for kind, count in counts.items()]
        said = f"--device {name}: this machine has no such device; choose auto, {', '.join(here)}"
        raise ConfigError(said + nearest(name, [*counts, "auto"]))
    return name


def check_dtype(name: str) -> None:
    """Check a `--dtype` value.

    Raises:
        ConfigError: there is no such data type.
    """
    if name not in DTYPES:
        raise ConfigError(f"--dtype {name}: choose one of {', '.join(DTYPES)}{nearest(name, DTYPES)}")


def chosen_dtype(name: str, saved: torch.dtype | None, device: str) -> torch.dtype | None:
    """Return the type that a `--dtype` value stands for; None where nothing is known and transformers decides.

    `auto` is the saved type; on a CPU that would have to emulate a half type it is float32.

    Args:
        name: the value.
        saved: the type in which the weights are saved, None where that is not known.
        device: what the model computes on.

    Raises:
        ConfigError: there is no such data type.
    """
    check_dtype(name)
    if name != "auto":
        return getattr(torch, name)
    if not device.startswith("cpu") or saved == torch.float32:
        return saved
    return saved if saved == torch.bfloat16 and cpu_computes_in_bfloat16() else torch.float32
