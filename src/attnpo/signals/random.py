"""Control: steps in random order."""

from __future__ import annotations

import torch
from torch import Tensor

from attnpo.credit.seeding import stream
from attnpo.signals.base import Seen, Signal


class Random(Signal):
    """A number drawn for each step; the same for a response whenever it is looked at within a run of one seed."""

    name = "random"
    formula = "uniform on [0, 1), drawn for each step"

    def score(self, seen: Seen) -> Tensor:
        """Return (B, K) draws, which depend on seed, `row_ids_B` and the step's place alone."""
        drawn = []
        for row_id in seen.row_ids_B.tolist():
            generator = stream("random", self.seed, row_id)
            drawn.append([generator.random() for _ in range(seen.step_mask_BK.shape[1])])
        return torch.tensor(drawn, dtype=torch.float32, device=seen.step_mask_BK.device).view(seen.step_mask_BK.shape)
