"""Gradients as they are kept: whole, or in a count sketch that keeps inner products."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

SKETCH_SEED = 0x5EED


@dataclass
class Whole:
    """Every coordinate."""

    size: int

    @property
    def width(self) -> int:
        """Coordinates that are kept."""
        return self.size

    def __call__(self, gradient_D: Tensor) -> Tensor:
        """Return the gradient itself."""
        return gradient_D


class CountSketch:
    """Random signs, each stretch of `width` coordinates turned by a random amount, all stretches added up.

    The inner product of two sketches has the inner product of the vectors as its mean over the signs, and a standard
    deviation of about |x| |y| / sqrt(width). Takes a byte a coordinate.
    """

    def __init__(self, size: int, width: int, device: torch.device | str = "cpu", seed: int = SKETCH_SEED) -> None:
        self.size, self.width = size, width
        generator = torch.Generator().manual_seed(seed)
        stretches = -(-size // width)
        signs = torch.randint(0, 2, (stretches, width), generator=generator, dtype=torch.int8)
        self._signs = (2 * signs - 1).to(device)
        self._turns = torch.randint(0, width, (stretches,), generator=generator).tolist()

    def __call__(self, gradient_D: Tensor) -> Tensor:
        """Return (width,) float32."""
        found = torch.zeros(self.width, device=gradient_D.device)
        for signs, turn, part in zip(self._signs, self._turns, gradient_D.split(self.width), strict=True):
            signed = torch.zeros_like(found)
            signed[: len(part)] = part * signs[: len(part)]
            found += signed.roll(turn)
        return found


Projection = Whole | CountSketch


def flat(tensors: Sequence[Tensor | None], like: Sequence[Tensor]) -> Tensor:
    """Return tensors as one float32 vector, zeros for None."""
    return torch.cat(
        [
            torch.zeros_like(shape, dtype=torch.float32).flatten() if tensor is None else tensor.float().flatten()
            for tensor, shape in zip(tensors, like, strict=True)
        ]
    )
