"""Attention spread evenly: every step of a response scores the same."""

from __future__ import annotations

import torch
from torch import Tensor

from attnpo.signals.base import Seen, Signal


class Uniform(Signal):
    """Every answer token spreads its attention evenly over the tokens it sees.

    So each step of a response gets the same attention a token (Eq. 1), every pair is a tie and the SRA is one half.
    """

    name = "uniform"
    formula = "the same for every step"
    rule = "uniform attention"

    def score(self, seen: Seen) -> Tensor:
        """Return (B, K) zeros."""
        return torch.zeros(seen.step_mask_BK.shape, device=seen.step_mask_BK.device)
