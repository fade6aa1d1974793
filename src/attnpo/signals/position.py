"""Position of the step in its response, either way round."""

from __future__ import annotations

import torch
from torch import Tensor

from attnpo.signals.base import Seen, Signal


class Later(Signal):
    """The nearer a step is to the answer, the more it deserves to be kept."""

    name = "later"
    formula = "k of s_k"
    rule = "later first"

    def score(self, seen: Seen) -> Tensor:
        """Return (B, K) places, from 0."""
        number_K = torch.arange(seen.step_mask_BK.shape[1], dtype=torch.float32, device=seen.step_mask_BK.device)
        return number_K.expand(seen.step_mask_BK.shape)


class Earlier(Later):
    """The nearer a step is to the start, the more it deserves to be kept."""

    name = "earlier"
    formula = "-k of s_k"
    rule = "earlier first"

    def score(self, seen: Seen) -> Tensor:
        """Return (B, K) minus the place of each step."""
        return -super().score(seen)
