"""Credit accuracy: would the credit touch the right tokens? Needs step labels, no training run."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

import torch
from torch import Tensor

from attnpo.credit.batches import ESSENTIAL, REDUNDANT, StepBatch
from attnpo.credit.methods.base import Method
from attnpo.errors import DataError

CREDIT_CELLS: Final = ("PA essential", "PA redundant", "NA essential", "NA redundant")
"""Names of the four shares: which attenuation, on tokens of which kind of step."""


@dataclass(frozen=True)
class CreditAccuracy:
    """Counts of tokens, one row a response, so that a caller can pool them or resample responses or problems.

    Attributes:
        touched: cell of `CREDIT_CELLS` -> (B,) float32, tokens touched (or the sum of their 1 - gamma).
        total: cell -> (B,) float32, tokens of that kind of step.
    """

    touched: dict[str, Tensor]
    total: dict[str, Tensor]

    def shares(self) -> dict[str, float | None]:
        """Return each cell's pooled share of tokens touched; None where there is no token of that kind."""
        return {
            cell: (self.touched[cell].sum() / self.total[cell].sum()).item() if self.total[cell].any() else None
            for cell in CREDIT_CELLS
        }

    @classmethod
    def concatenate(cls, parts: Sequence[CreditAccuracy]) -> CreditAccuracy:
        """Join the rows of several batches; needs at least one."""
        return cls(
            touched={cell: torch.cat([part.touched[cell] for part in parts]) for cell in CREDIT_CELLS},
            total={cell: torch.cat([part.total[cell] for part in parts]) for cell in CREDIT_CELLS},
        )


@torch.no_grad()
def credit_accuracy(method: Method, steps: StepBatch, weighted: bool = False) -> CreditAccuracy:
    """Count the essential and redundant tokens that a method would attenuate and protect.

    Every correct response counts twice: as if its advantage were positive, with the schedule over (PA), and
    as if it were negative (NA). A good head set scores high on "PA redundant" and "NA essential", low on the
    other two. Steps of incorrect responses and undecided steps are left out; correct responses that are not
    rescaled (one step, no final answer) count as untouched. PA or NA switched off in the method's settings
    touches nothing.

    Args:
        method: the method as configured; works for any `Method`.
        steps: the responses, with labels; `advantages_B` and `progress_step` are not read.
        weighted: count each token by 1 - gamma instead of by gamma < 1; one with gamma > 1 counts nothing.

    Raises:
        DataError: `steps` carries no labels.
    """
    if steps.labels_BK is None:
        raise DataError("credit accuracy: the steps carry no labels; give a labeller")
    counted_BK = steps.owned_BK & steps.correct_B.bool()[:, None]
    tokens_BK = torch.where(counted_BK, steps.step_lengths_BK, 0).float()
    kinds = {"essential": steps.labels_BK == ESSENTIAL, "redundant": steps.labels_BK == REDUNDANT}
    touched: dict[str, Tensor] = {}
    total: dict[str, Tensor] = {}
    for attenuation, sign in (("PA", 1.0), ("NA", -1.0)):
        advantages_B = torch.full_like(steps.pass_rate_B, sign)
        gamma_BK = method.gamma(replace(steps, advantages_B=advantages_B, progress_step=sys.maxsize))
        weight_BK = (1 - gamma_BK).clamp(min=0) if weighted else (gamma_BK < 1).float()
        for kind, mask_BK in kinds.items():
            touched[f"{attenuation} {kind}"] = (tokens_BK * weight_BK * mask_BK).sum(dim=1)
            total[f"{attenuation} {kind}"] = (tokens_BK * mask_BK).sum(dim=1)
    return CreditAccuracy(touched, total)
