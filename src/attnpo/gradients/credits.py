"""The credits that are held against each other: what is wanted of a policy, methods at several strengths, parts."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from attnpo.credit import build_method
from attnpo.credit.advantages import rloo_advantages
from attnpo.credit.batches import ESSENTIAL, REDUNDANT
from attnpo.credit.methods.attnpo_random_steps import move_attenuation
from attnpo.credit.rescaling import step_support
from attnpo.credit.rescaling import token_advantages as spread_over_steps
from attnpo.credit.rewards import length_z_scores
from attnpo.credit.settings import CreditSettings
from attnpo.gradients.batch import HEADS, Batch
from attnpo.gradients.wanted import Wanted
from attnpo.signals.oracle import OracleSignal

ACCURACY, LENGTH, REDUNDANT_TOKENS, ESSENTIAL_TOKENS = "accuracy", "length", "redundant tokens", "essential tokens"
LENGTH_TERM = "length term"
"""Minus sigmoid(z) of correct responses: TLMRE weighed alpha is `accuracy` + alpha times this."""
ATTNPO, TLMRE = "attnpo", "tlmre"
COMMON = 0.2
"""Strength of the TLMRE credit that Adam's metric is of."""


@dataclass(frozen=True)
class Credit:
    """A way to give (B, T) token advantages to a batch.

    Attributes:
        name: its name.
        family: the curve that it is a point of.
        strength: its place on the curve, None where there is no dial.
        beside: the credit whose signal to noise its own is divided by; empty for none.
        advantages: gives them.
        method: the method whose credit it is; empty where it is no method's.
        settings: those of its settings that differ from the published ones.
        signal: the step signal in place of the method's own; None for that.
    """

    name: str
    family: str
    strength: float | None
    beside: str
    advantages: Callable[[Batch], Tensor]
    method: str = ""
    settings: Mapping[str, Any] = field(default_factory=dict)
    signal: str | None = None


def token_advantages(credits: Sequence[Credit], batch: Batch) -> Tensor:
    """Return (M, B, T) float64, the advantages of every token under every credit, 0 behind responses."""
    return torch.stack([credit.advantages(batch).double() * batch.inside_BT for credit in credits])


def wanted_credits(labelled: bool) -> list[Credit]:
    """Return those whose mean gradient is, without bias, that of what they are named after, and the length term.

    Accuracy and what is saved: minus the length, the tokens of redundant and of essential steps.

    Args:
        labelled: whether steps carry labels.
    """

    def length_term(batch: Batch) -> Tensor:
        groups = batch.plain.groups
        values_PG = -length_z_scores(groups.correct_PG, groups.lengths_PG).sigmoid() * groups.correct_PG
        return _every_token(values_PG.reshape(-1), batch)

    def saved(label: int) -> Callable[[Batch], Tensor]:
        return lambda batch: _every_token(-(batch.labels_BT == label).float().sum(dim=1), batch)

    found = [
        Credit(ACCURACY, ACCURACY, None, ACCURACY, lambda b: _every_token(b.plain.groups.correct_PG.float(), b)),
        Credit(LENGTH, LENGTH, None, LENGTH, lambda b: _every_token(-b.plain.groups.lengths_PG.float(), b)),
        Credit(LENGTH_TERM, LENGTH_TERM, None, LENGTH, length_term),
    ]
    if labelled:
        found.append(Credit(REDUNDANT_TOKENS, REDUNDANT_TOKENS, None, LENGTH, saved(REDUNDANT)))
        found.append(Credit(ESSENTIAL_TOKENS, ESSENTIAL_TOKENS, None, LENGTH, saved(ESSENTIAL)))
    return found


def split_credits(labelled: bool, scored: bool) -> list[Credit]:
    """Return the verdict's credit on the steps that count, and the length's on what is still to come.

    Args:
        labelled: whether steps carry labels.
        scored: whether there are heads to score them with.
    """

    def by_label(batch: Batch) -> Tensor:
        labels_BK = batch.plain.steps.labels_BK
        assert labels_BK is not None
        return (labels_BK != REDUNDANT).float()

    def at_random(batch: Batch) -> Tensor:
        return move_attenuation(by_label(batch), batch.plain.steps, batch.number)

    def to_come(costs: Callable[[Batch], Tensor]) -> Callable[[Batch], Tensor]:
        return lambda b: _still_to_come(costs(b), b)

    found = [("length still to come", LENGTH, to_come(lambda batch: batch.inside_BT))]
    if labelled:
        found += [
            ("redundant tokens still to come", LENGTH, to_come(lambda b: (b.labels_BT == REDUNDANT) & b.inside_BT)),
            ("accuracy, steps by oracle", ACCURACY, _masked(by_label)),
            ("accuracy, random steps", ACCURACY, _masked(at_random)),
        ]
    if scored:
        found.append(("accuracy, steps by heads", ACCURACY, _masked(_support)))
    return [Credit(name, name, None, beside, advantages) for name, beside, advantages in found]


def signal_credits(names: Sequence[str]) -> list[Credit]:
    """Return the verdict's credit on the steps that each signal keeps; heads and oracle are among `split_credits`."""

    def verdict(name: str) -> Callable[[Batch], Tensor]:
        return _masked(lambda b: _support(b, name))

    kept = {f"{ACCURACY}, steps by {name}": verdict(name) for name in names if name not in (HEADS, OracleSignal.name)}
    return [Credit(name, name, None, ACCURACY, advantages) for name, advantages in kept.items()]


def method_credits(wanted: Sequence[Wanted]) -> list[Credit]:
    """Return the methods' credits and TLMRE's curve at all their strengths, which takes no pass of its own."""
    strengths = {entry.alpha_len for entry in wanted} - {None} | {COMMON}
    curve = [Wanted(TLMRE, {"alpha_len": a}, f"{TLMRE} {a:g}", TLMRE, a) for a in sorted(filter(None, strengths))]
    others = [entry for entry in wanted if entry.name not in {point.name for point in curve}]
    return [_method_credit(entry) for entry in (*curve, *others)]


def _method_credit(entry: Wanted) -> Credit:
    def advantages(batch: Batch) -> Tensor:
        # A method learns from the groups that it sees; no batch is to depend on another.
        method = build_method(entry.method, {"seed": batch.number, **entry.settings})
        return batch.advantages(method, entry.signal)

    # What else shortens has no strength of TLMRE's, and signal to noise of length is no measure for that of accuracy.
    alpha = entry.alpha_len
    beside = "" if alpha is None else f"{TLMRE} {alpha:g}" if alpha else ACCURACY
    return Credit(
        entry.name, entry.family, entry.strength, beside, advantages, entry.method, entry.settings, entry.signal
    )


def _masked(share: Callable[[Batch], Tensor]) -> Callable[[Batch], Tensor]:
    """Return what gives the verdict's advantage to each step by its (B, K) share, right and wrong responses alike."""
    return lambda b: spread_over_steps(b.plain.steps.advantages_B, share(b), b.plain.step_index_BT)


def _support(batch: Batch, signal: str = HEADS) -> Tensor:
    """Return (B, K) how far the answer rests on each step: min(1, S / S_base)."""
    steps = batch.replayed(build_method(ATTNPO), signal).steps
    return step_support(steps.scores_BK, steps, CreditSettings())


def _every_token(values: Tensor, batch: Batch) -> Tensor:
    """Return (B, T) leave-one-out advantages of a number of each response, the same on all its tokens (Eq. 4)."""
    advantages_B1 = rloo_advantages(values.reshape(-1, batch.group_size)).reshape(-1, 1)
    return advantages_B1.expand(batch.inside_BT.shape)


def _still_to_come(costs_BT: Tensor, batch: Batch) -> Tensor:
    """Return (B, T) advantages of what each token costs (`advantages_to_go`)."""
    costs_PGT = (costs_BT * batch.inside_BT).double().view(-1, batch.group_size, costs_BT.shape[1])
    return advantages_to_go(costs_PGT).flatten(0, 1)


def advantages_to_go(costs_PGT: Tensor) -> Tensor:
    """Return (P, G, T) advantages of costing less from a token on than the other responses of the group on average.

    The others cost 0 where they have ended. Without bias if a token's cost is decided by what stands before it and by
    itself: true of length; nearly of redundant tokens, whose label later text may change. 0 in groups of one.

    Args:
        costs_PGT: what each token costs; 0 behind the response, where advantages mean nothing.
    """
    size = costs_PGT.shape[1]
    ahead_PGT = costs_PGT.flip(2).cumsum(dim=2).flip(2)
    theirs_PGT = (ahead_PGT.sum(dim=1, keepdim=True) - ahead_PGT) / max(1, size - 1)
    return theirs_PGT - ahead_PGT if size > 1 else torch.zeros_like(costs_PGT)
