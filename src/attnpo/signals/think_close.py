"""Attention from `</think>` (CRISP)."""

from __future__ import annotations

from contextlib import AbstractContextManager
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from attnpo.signals.all_heads import AllHeads
from attnpo.signals.base import Places


class ThinkClose(AllHeads):
    """What `</think>` looks back at, where the model is done with thinking.

    Eq. 1 with F = {`</think>`}, averaged over all layers and heads (CRISP, arXiv 2604.17297, which keeps the 30 % of
    steps that score highest and prunes the 20 % that score lowest). All tokens of the mark count.
    """

    name = "think_close"
    paper = "CRISP"
    arxiv = "2604.17297"
    source = "secondary notes"
    formula = "1 / (N |s|) sum of attention from </think> to s, all heads"
    extra_cost = "attention row of one token, every head"
    rule = None
    own_scale = False

    def attach(self, model: Any, places: Places) -> AbstractContextManager[Any]:
        """Read every head's row of `</think>`."""
        marks_BL = between(places.step_index_BL, places.answer_mask_BL)
        return super().attach(model, replace(places, answer_mask_BL=marks_BL))


def between(step_index_BL: Tensor, answer_mask_BL: Tensor) -> Tensor:
    """Return (B, L) bool, the tokens between the last step and the final answer: those of `</think>`."""
    length = step_index_BL.shape[1]
    place_L = torch.arange(length, device=step_index_BL.device)
    last_B1 = torch.where(step_index_BL >= 0, place_L, -1).amax(dim=1, keepdim=True)
    first_B1 = torch.where(answer_mask_BL.bool(), place_L, length).amin(dim=1, keepdim=True)
    answered_B1 = answer_mask_BL.bool().any(dim=1, keepdim=True) & (last_B1 >= 0)
    return (place_L > last_B1) & (place_L < first_B1) & answered_B1
