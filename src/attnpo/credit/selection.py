"""Some responses of each group compared with each other, the others without credit."""

from __future__ import annotations

from dataclasses import fields, replace
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from attnpo.credit.batches import GroupBatch

if TYPE_CHECKING:
    from attnpo.credit.methods.base import Method


@torch.no_grad()
def advantages_among(method: Method, rewards_PG: Tensor, groups: GroupBatch, kept_PG: Tensor) -> Tensor:
    """Return (P, G) float32 advantages of the kept responses as if each group were these alone, 0 for the others.

    Args:
        method: gives the advantages.
        rewards_PG: (P, G) rewards.
        groups: the groups.
        kept_PG: (P, G) bool, the responses that stay; any number of each group.
    """
    advantages_PG = torch.zeros_like(rewards_PG, dtype=torch.float32)
    for group, kept_G in enumerate(kept_PG):
        places = kept_G.nonzero().flatten()
        if len(places):
            own = method.advantages(rewards_PG[group : group + 1, places], part(groups, group, places))
            advantages_PG[group, places] = own[0]
    return advantages_PG


def part(groups: GroupBatch, group: int, places: Tensor) -> GroupBatch:
    """Return one group's responses at some places as a group of their own, without their steps."""
    values = {entry.name: getattr(groups, entry.name) for entry in fields(groups)}
    whole = slice(group, group + 1)
    return replace(
        groups,
        steps=None,
        facts={name: fact[whole, places] for name, fact in groups.facts.items()},
        **{name: value[whole, places] for name, value in values.items() if name.endswith("_PG") and value is not None},
        **{name: value[whole] for name, value in values.items() if name.endswith("_P") and value is not None},
    )


@torch.no_grad()
def smallest(values_PG: Tensor, count_P: Tensor) -> Tensor:
    """Return (P, G) bool, the `count` responses of each group with the smallest values, with those that equal the last.

    Args:
        values_PG: (P, G) numbers.
        count_P: (P,) integer, how many; more than there are means all.
    """
    place_P1 = (count_P.clamp(1, values_PG.shape[1]) - 1)[:, None]
    return values_PG <= values_PG.sort(dim=1).values.gather(1, place_P1)
