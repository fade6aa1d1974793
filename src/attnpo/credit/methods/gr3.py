"""GR3: the reward times a factor of the response's length relative to its group's."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from attnpo.credit.batches import GroupBatch
from attnpo.credit.checks import AT_LEAST_0, SWITCH, setting
from attnpo.credit.methods.base import Method
from attnpo.credit.rewards import outcome_rewards
from attnpo.credit.settings import GRPOSettings


@dataclass(frozen=True)
class GR3Settings(GRPOSettings):
    """Settings of GR3."""

    scale_advantages: bool = setting(
        False, SWITCH, "Divide the advantage by the standard deviation of the group's rewards (public code: no)."
    )
    alpha: float = setting(0.33, AT_LEAST_0, "Strength of the factor 1 / (1 + alpha L / mean L).")


class GR3(Method):
    """r = 1[correct] / (1 + alpha L / mean L), mean over all responses of the group (arXiv 2603.10535, code of others).

    Nothing is added, so no length earns what a right answer does not. The paper calibrates alpha before the run, so
    that good responses keep a positive advantage; how is not known here: alpha is what public code recommends, whose
    advantage is the reward minus the group's mean, undivided.
    """

    name = "gr3"
    paper = "GR3"
    arxiv = "2603.10535"
    source = "code of others"
    formula = "r = 1[correct] / (1 + 0.33 L / mean L), mean over the group; A = r - mean r"
    settings_type = GR3Settings
    settings: GR3Settings

    @torch.no_grad()
    def rewards(self, groups: GroupBatch) -> Tensor:
        """Return (P, G) rewards in [0, 1]."""
        lengths_PG = groups.lengths_PG.float()
        relative_PG = lengths_PG / lengths_PG.mean(dim=1, keepdim=True)
        return outcome_rewards(groups.correct_PG) / (1 + self.settings.alpha * relative_PG)
