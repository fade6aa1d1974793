"""Bound: the truth about each step."""

from __future__ import annotations

import torch
from torch import Tensor

from attnpo.credit.methods.oracle import scores_by_label
from attnpo.errors import DataError
from attnpo.signals.base import Seen, Signal


class OracleSignal(Signal):
    """Redundant steps score 0, essential ones 2, above any bar of Eq. 6; undecided ones are left alone."""

    name = "oracle"
    formula = "0 redundant, 2 essential"
    needs = ("labels",)
    own_scale = True

    def score(self, seen: Seen) -> Tensor:
        """Return (B, K) scores, NaN for undecided steps.

        Raises:
            DataError: the steps carry no labels.
        """
        if seen.labels_BK is None:
            raise DataError("signal oracle: the steps carry no labels; give a labeller (step_labeler)")
        return scores_by_label(seen.labels_BK, torch.tensor(float("nan"), device=seen.labels_BK.device))
