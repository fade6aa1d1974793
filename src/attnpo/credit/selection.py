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
def smallest(values_PG: Tensor, count_P: Tensor, then_PG: Tensor) -> Tensor:
    """Return (P, G) bool, the `count` responses of each group with the smallest values, with those that equal the last.

    Args:
        values_PG: (P, G) numbers.
        count_P: (P,) integer, how many; more than there are means all.
        then_PG: (P, G) numbers by which equal values are ordered.
    """
    place_P1 = (count_P.clamp(1, values_PG.shape[1]) - 1)[:, None]
    order_PG = then_PG.argsort(dim=1)
    order_PG = order_PG.gather(1, values_PG.gather(1, order_PG).argsort(dim=1, stable=True))
    last_P1 = order_PG.gather(1, place_P1)
    value_P1, then_P1 = values_PG.gather(1, last_P1), then_PG.gather(1, last_P1)
    return (values_PG < value_P1) | ((values_PG == value_P1) & (then_PG <= then_P1))


@torch.no_grad()
def moments(values_PG: Tensor, among_PG: Tensor) -> tuple[Tensor, Tensor]:
    """Return mean and variance of a population, (P, 1) float64 each, over some of each group; 0 where there are none.

    Args:
        values_PG: (P, G) numbers.
        among_PG: (P, G) bool, whose.
    """
    values_PG, among_PG = values_PG.double(), among_PG.double()
    count_P1 = among_PG.sum(dim=1, keepdim=True).clamp(min=1)
    mean_P1 = (values_PG * among_PG).sum(dim=1, keepdim=True) / count_P1
    return mean_P1, ((values_PG - mean_P1).square() * among_PG).sum(dim=1, keepdim=True) / count_P1
