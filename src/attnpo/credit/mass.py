"""How much advantage credit takes away and puts on, by sign: what a method is worth as plain strength."""

from __future__ import annotations

from typing import Final

import torch
from torch import Tensor

from attnpo.credit.batches import GroupBatch

SIGNS: Final = {"positive": 1.0, "negative": -1.0}


def verdict_advantages(correct: Tensor, pass_rate: Tensor, group_size: int) -> Tensor:
    """Return the leave-one-out advantage of the verdict alone, (c - p) G / (G - 1), float32 (AttnPO, Eq. 4).

    Args:
        correct: verdicts c of any shape.
        pass_rate: pass rate p of each response's group, of a shape that fits.
        group_size: G, at least 2.
    """
    return (correct.float() - pass_rate) * group_size / (group_size - 1)


@torch.no_grad()
def total_mass(advantages_PG: Tensor, groups: GroupBatch) -> dict[str, Tensor]:
    """Return sign -> the sum of the advantages of that sign over all response tokens, without its sign."""
    lengths_PG = groups.lengths_PG.float()
    return {name: ((sign * advantages_PG).clamp(min=0) * lengths_PG).sum() for name, sign in SIGNS.items()}


@torch.no_grad()
def changed_mass(before_B: Tensor, after_BT: Tensor, lengths_B: Tensor) -> dict[str, tuple[Tensor, Tensor]]:
    """Return sign -> how much of the mass of that sign is kept, and how much is new; sums over tokens.

    A token of advantage a before and b after keeps the part of a that b still has, the smaller of the two where their
    signs agree; what b has beyond that is new. What is taken away is `total_mass` less what is kept, so responses
    without advantage after credit may be left out here.

    Args:
        before_B: (B,) advantage of each response before credit.
        after_BT: (B, T) advantage of each token.
        lengths_B: (B,) tokens of each response; what lies behind is padding.
    """
    inside_BT = torch.arange(after_BT.shape[1], device=after_BT.device) < lengths_B[:, None]
    found = {}
    for name, sign in SIGNS.items():
        before_B1, after = (sign * before_B.float())[:, None].clamp(min=0), (sign * after_BT.float()).clamp(min=0)
        kept_BT, new_BT = torch.minimum(before_B1, after), (after - before_B1).clamp(min=0)
        found[name] = ((kept_BT * inside_BT).sum(), (new_BT * inside_BT).sum())
    return found
