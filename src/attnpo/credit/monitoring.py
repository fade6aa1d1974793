"""What training logs of the credit it gave: sums that add up over batches and processes, and their shares."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from attnpo.credit.batches import ESSENTIAL, REDUNDANT, StepBatch


@torch.no_grad()
def credit_counts(steps: StepBatch, gamma_BK: Tensor) -> dict[str, Tensor]:
    """Sum up what credit did; the sums of several batches may be added before `credit_metrics`.

    Args:
        steps: the responses, with labels where known.
        gamma_BK: (B, K) factors that were applied.

    Returns:
        0-dimensional float32 tensors: `steps` (all of them, incorrect responses included), `attenuated`
        (A > 0 and gamma < 1), `protected` (A < 0 and gamma < 1), `gamma` (sum over the steps), `judged`
        (attenuated or protected steps labelled essential or redundant) and `agreeing` (of these, redundant
        ones attenuated and essential ones protected). The last two are 0 without labels.
    """
    owned_BK = steps.owned_BK
    touched_BK = owned_BK & (gamma_BK < 1)
    attenuated_BK = touched_BK & (steps.advantages_B > 0)[:, None]
    protected_BK = touched_BK & (steps.advantages_B < 0)[:, None]
    labels_BK = torch.zeros_like(owned_BK, dtype=torch.long) if steps.labels_BK is None else steps.labels_BK
    essential_BK, redundant_BK = labels_BK == ESSENTIAL, labels_BK == REDUNDANT
    masks = {
        "steps": owned_BK,
        "attenuated": attenuated_BK,
        "protected": protected_BK,
        "judged": (attenuated_BK | protected_BK) & (essential_BK | redundant_BK),
        "agreeing": (attenuated_BK & redundant_BK) | (protected_BK & essential_BK),
    }
    return {name: mask_BK.sum().float() for name, mask_BK in masks.items()} | {
        "gamma": (gamma_BK.float() * owned_BK).sum()
    }


def credit_metrics(counts: Mapping[str, Tensor | float]) -> dict[str, float]:
    """Turn summed counts into what a person follows; a share with nothing to count is left out, never NaN.

    Args:
        counts: sums of `credit_counts`.

    Returns:
        `steps_attenuated` and `steps_protected` (shares of all steps), `gamma` (mean over all steps) and
        `credit_agreement` (share of the attenuated or protected steps with a decided label where credit was
        right).
    """
    steps, judged = float(counts["steps"]), float(counts["judged"])
    metrics: dict[str, float] = {}
    if steps:
        metrics["steps_attenuated"] = float(counts["attenuated"]) / steps
        metrics["steps_protected"] = float(counts["protected"]) / steps
        metrics["gamma"] = float(counts["gamma"]) / steps
    if judged:
        metrics["credit_agreement"] = float(counts["agreeing"]) / judged
    return metrics
