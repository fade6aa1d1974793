"""In which types weights, gradients and optimizer states are held, and passes computed."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import nn

from attnpo.training.estimate.layouts import Layout

ADAM_STATES = 2
MATRIX_BYTES = {"load_in_8bit": 1.0, "load_in_4bit": 0.5 + 4 / 64}
"""Bytes a weight in bitsandbytes' matrices: 4 bits and a float32 scale for every 64 of them; without nested scales."""


@dataclass(frozen=True)
class Precision:
    """Types of one run on one layout.

    Attributes:
        frozen: weights without gradient, as held.
        trained: weights with gradient, as held.
        gradient: gradients.
        compute: what layers compute in, None where it is the weights' own type without autocast.
        master: a float32 copy of the trained weights lies with the optimizer (DeepSpeed).
        state_bytes: bytes of optimizer states a trained weight, the master copy not counted.
        matrix_bytes: bytes of a weight in quantised matrices, None where none are.
    """

    frozen: torch.dtype
    trained: torch.dtype
    gradient: torch.dtype
    compute: torch.dtype | None
    master: bool
    state_bytes: float
    matrix_bytes: float | None = None

    def of(self, parameter: nn.Parameter) -> torch.dtype:
        """Type that a parameter is held in."""
        return self.trained if parameter.requires_grad else self.frozen


def precision(layout: Layout, *, loaded: torch.dtype, mixed: torch.dtype | None, lora: bool, optim: str) -> Precision:
    """Say what is held in which type.

    Args:
        layout: DeepSpeed holds weights in the mixed type and a float32 copy beside the optimizer states; FSDP2 holds
            trained weights in float32 and computes in the mixed type.
        loaded: type that the model is loaded in (`model_init_kwargs.dtype`; TRL's default is float32).
        mixed: mixed precision's type (`bf16`, `fp16`), None without.
        lora: adapters are trained, the model's weights are not. PEFT holds adapters in float32.
        optim: transformers' name of the optimizer.
    """
    trained = torch.float32 if lora else loaded
    if layout.is_deepspeed and mixed is not None:
        states = _state_bytes(optim, torch.float32)
        return Precision(mixed, mixed, mixed, None, master=True, state_bytes=states)
    if layout.kind == "fsdp2" and mixed is not None:
        return Precision(
            loaded, torch.float32, torch.float32, mixed, master=False, state_bytes=_state_bytes(optim, torch.float32)
        )
    return Precision(loaded, trained, trained, mixed, master=False, state_bytes=_state_bytes(optim, trained))


def knows_optimizer(optim: str) -> bool:
    """Whether the optimizer's states are known; any other is taken for AdamW."""
    return any(optim.startswith(name) for name in ("adamw", "paged_adamw", "sgd", "lion", "paged_lion", "adafactor"))


def _state_bytes(optim: str, held: torch.dtype) -> float:
    """Bytes of optimizer states a trained weight."""
    per_state = 1 if "8bit" in optim else held.itemsize
    if optim.startswith(("sgd", "adafactor")):  # adafactor keeps a row and a column a matrix
        return 0
    return per_state * (1 if "lion" in optim else ADAM_STATES)
