"""DDCA: the verdict's advantage and the length's apart, the latter among correct responses alone."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from attnpo.credit.advantages import group_advantages
from attnpo.credit.batches import GroupBatch
from attnpo.credit.checks import AT_LEAST_0, SWITCH, setting
from attnpo.credit.methods.base import Method
from attnpo.credit.rewards import length_z_scores
from attnpo.credit.settings import GRPOSettings


@dataclass(frozen=True)
class DDCASettings(GRPOSettings):
    """Settings of DDCA."""

    beta: float = setting(0.2, AT_LEAST_0, "Weight of the length's advantage (official configurations: 0.2).")
    dynamic: bool = setting(True, SWITCH, "Multiply it by the pass rate; off: DCA.")


class DDCA(Method):
    """A = A_acc + beta p A_len; A_len = -(s - mean s), s = sigmoid(z), among the correct responses, 0 for the others.

    arXiv 2602.02099, official code. A_acc is GRPO's advantage of the reward, divided by the standard deviation
    (`scale_advantages`), or RLOO's; with RLOO the mean of s is that of the *other* correct responses. So wrong
    responses are no part of the length's baseline, and the standard deviation does not cancel the length's weight
    where all are right. A single correct response has A_len 0. The standard deviation is this package's (of a sample);
    the official code takes the population's.
    """

    name = "ddca"
    paper = "DDCA"
    arxiv = "2602.02099"
    source = "official code"
    formula = "A = GRPO(1[correct]) - 0.2 p (sigmoid(z) - its mean among the correct) for correct responses"
    settings_type = DDCASettings
    settings: DDCASettings

    @torch.no_grad()
    def advantages(self, rewards_PG: Tensor, groups: GroupBatch | None = None) -> Tensor:
        """Return (P, G) advantages.

        Raises:
            DataError: the groups are not given.
        """
        groups, own = self.known(groups, "groups"), self.settings
        weight_P1 = groups.pass_rate_P[:, None] if own.dynamic else 1.0
        length_PG = length_advantages(groups, leave_one_out=own.advantage == "rloo")
        return group_advantages(rewards_PG, own.advantage, own.scale_advantages) + own.beta * weight_P1 * length_PG


@torch.no_grad()
def length_advantages(groups: GroupBatch, leave_one_out: bool) -> Tensor:
    """Return (P, G) float32 A_len: how much less than the correct ones' mean a correct response's length scores.

    Args:
        groups: the groups.
        leave_one_out: hold it against the mean of the other correct responses.
    """
    correct_PG = groups.correct_PG.bool()
    scores_PG = length_z_scores(correct_PG, groups.lengths_PG).sigmoid()
    # Differences, not the mean: equal lengths give exactly 0.
    differences_PGG = (scores_PG[:, None, :] - scores_PG[:, :, None]) * correct_PG[:, None, :]
    count_P1 = (correct_PG.sum(dim=1, keepdim=True) - int(leave_one_out)).clamp(min=1)
    return torch.where(correct_PG, differences_PGG.sum(dim=2) / count_P1, 0.0)
