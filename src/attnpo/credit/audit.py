"""What credit did in the end: which steps a method's token advantages punish, reward and leave alone.

Reads nothing but the advantages that the loss takes, so that every method can be held against the truth, whether its
credit comes from heads, labels, probes or the whole response's outcome. `monitoring` says what gamma did instead, and
`accuracy` what it would do.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from typing import Final

import torch
from torch import Tensor

from attnpo.credit.batches import ESSENTIAL, REDUNDANT
from attnpo.rollouts import Rollout

KINDS: Final = {"essential": ESSENTIAL, "redundant": REDUNDANT}
"""Kinds of steps that are audited by label, with their codes."""
VERDICTS: Final = ("correct", "incorrect")


@dataclass(frozen=True)
class KindAudit:
    """Treatment of one kind of step: (B,) float32 each, one number a response, so that they add up or are resampled.

    A step is punished where the mean advantage of its tokens is negative, rewarded where it is positive, and
    untouched where it is 0. The `token_` fields count a step's tokens where the others count 1.

    Attributes:
        steps: steps of the kind that own a token.
        punished: of these, the punished ones.
        rewarded: the rewarded ones; `steps - punished - rewarded` are untouched.
        advantage: sum over the steps of their mean advantage.
        tokens: tokens of the steps.
        token_punished: tokens of punished steps.
        token_rewarded: tokens of rewarded steps.
        token_advantage: sum of the advantages of the steps' tokens.
    """

    steps: Tensor
    punished: Tensor
    rewarded: Tensor
    advantage: Tensor
    tokens: Tensor
    token_punished: Tensor
    token_rewarded: Tensor
    token_advantage: Tensor

    @classmethod
    def concatenate(cls, parts: Iterable[KindAudit]) -> KindAudit:
        """Join the responses of several batches; needs at least one."""
        rows = list(parts)
        return cls(*(torch.cat([getattr(part, entry.name) for part in rows]) for entry in fields(cls)))


@torch.no_grad()
def step_mean_advantages(advantages_BT: Tensor, step_index_BT: Tensor, num_steps: int) -> tuple[Tensor, Tensor]:
    """Return the mean advantage of each step's tokens and the number of these tokens.

    Tokens of one advantage give exactly that mean, so that steps treated alike never differ by rounding.

    Args:
        advantages_BT: (B, T) final advantage of each response token.
        step_index_BT: (B, T) integer, step of each response token, -1 outside the steps.
        num_steps: K.

    Returns:
        (B, K) float32 means, 0 where a step owns no token, and (B, K) float32 token counts.
    """
    place_BT = step_index_BT.long() + 1  # place 0 takes what lies outside the steps
    values_BT = advantages_BT.float()
    empty_BK1 = values_BT.new_zeros(len(values_BT), num_steps + 1)
    tokens_BK1 = empty_BK1.scatter_add(1, place_BT, torch.ones_like(values_BT))
    least_BK1 = empty_BK1.scatter_reduce(1, place_BT, values_BT, "amin", include_self=False)
    above_BK1 = empty_BK1.scatter_add(1, place_BT, values_BT - least_BK1.gather(1, place_BT))
    mean_BK1 = least_BK1 + above_BK1 / tokens_BK1.clamp(min=1)
    return mean_BK1[:, 1:], tokens_BK1[:, 1:]


@torch.no_grad()
def audit_credit(
    advantages_BT: Tensor, step_index_BT: Tensor, labels_BK: Tensor, marks: Mapping[str, Tensor] | None = None
) -> dict[str, KindAudit]:
    """Count how the final advantages treat essential and redundant steps.

    Args:
        advantages_BT: (B, T) final advantage of each response token, as `Method.spread` returns it.
        step_index_BT: (B, T) integer, step of each response token, -1 outside the steps.
        labels_BK: (B, K) integer labels; undecided steps are left out.
        marks: further kinds of steps by name, (B, K) bool, such as checks that mended an error.

    Returns:
        kind -> its counts, one number a response: pool those of correct and of incorrect responses by the verdict.
    """
    mean_BK, tokens_BK = step_mean_advantages(advantages_BT, step_index_BT, labels_BK.shape[1])
    kinds = {name: labels_BK == code for name, code in KINDS.items()} | dict(marks or {})
    found = {}
    for name, mask_BK in kinds.items():
        here_BK = (mask_BK & (tokens_BK > 0)).float()
        punished_BK, rewarded_BK = here_BK * (mean_BK < 0), here_BK * (mean_BK > 0)
        found[name] = KindAudit(
            steps=here_BK.sum(dim=1),
            punished=punished_BK.sum(dim=1),
            rewarded=rewarded_BK.sum(dim=1),
            advantage=(here_BK * mean_BK).sum(dim=1),
            tokens=(here_BK * tokens_BK).sum(dim=1),
            token_punished=(punished_BK * tokens_BK).sum(dim=1),
            token_rewarded=(rewarded_BK * tokens_BK).sum(dim=1),
            token_advantage=(here_BK * mean_BK * tokens_BK).sum(dim=1),
        )
    return found


@torch.no_grad()
def audit_sums(audits: Mapping[str, KindAudit], correct_B: Tensor) -> dict[str, Tensor]:
    """Sum an audit up over responses, for a running mean; divide by `audit_totals` of the same responses.

    Rows of zero advantage add nothing but untouched steps, so they may be left out here, and only here.

    Args:
        audits: what `audit_credit` returned.
        correct_B: (B,) bool, the verdicts.

    Returns:
        0-dimensional tensors: `essential_punished`, `essential_rewarded` (steps) and `essential_advantage` (sum of
        their mean advantages), the same for each kind, and each again as `correct/...` and `incorrect/...` for the
        responses of that verdict.
    """
    right_B = correct_B.bool()
    parts_B = {"": torch.ones_like(right_B), "correct/": right_B, "incorrect/": ~right_B}
    return {
        f"{part}{kind}_{measure}": (getattr(audit, measure) * rows_B).sum()
        for part, rows_B in parts_B.items()
        for kind, audit in audits.items()
        for measure in ("punished", "rewarded", "advantage")
    }


def audit_totals(rollouts: Iterable[Rollout]) -> dict[str, int]:
    """Count the labelled steps of all responses, under the names of `audit_sums`.

    Args:
        rollouts: verified responses with labelled steps, those of zero advantage included.
    """
    counts = {f"{part}{kind}": 0 for part in ("", *(f"{verdict}/" for verdict in VERDICTS)) for kind in KINDS}
    for rollout in rollouts:
        verdict = VERDICTS[0] if rollout.correct else VERDICTS[1]
        for step in rollout.steps:
            if step.label in KINDS and step.tokens[1] > step.tokens[0]:
                counts[step.label] += 1
                counts[f"{verdict}/{step.label}"] += 1
    return {f"{name}_{measure}": n for name, n in counts.items() for measure in ("punished", "rewarded", "advantage")}
