"""A price that each redundant step pays for itself, and nothing else for the response."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import torch
from torch import Tensor

from attnpo.credit.batches import GroupBatch
from attnpo.credit.checks import SWITCH, Allowed, Range, one_of, setting

from .split import LENGTH, Pressure, SplitCredit, SplitOracle, SplitSettings

OFF: Final = Allowed("False", lambda value: value is False)


@dataclass(frozen=True)
class StepPriceSettings(SplitSettings):
    """Split credit's settings; a price in place of Eq. 3's term, on redundant tokens."""

    mask_verdict: bool = setting(False, SWITCH, "Give the verdict's advantage to each step by min(1, S / S_base).")
    to_go: bool = setting(False, OFF, "Off: a step answers for itself alone.")
    pressure: Pressure = setting("redundant", one_of("redundant"), "What is paid for.")
    alpha_len: float = setting(0.0, Range(0, 0), "Off: Eq. 3's term is the whole response's.")
    token_price: float = setting(0.05, Range(0), "Advantage that a redundant token loses, wrong responses too.")


class StepPrice(SplitCredit):
    """RLOO on the verdict, and a price a redundant token that its own step alone answers for (this project).

        A_t = RLOO(v)_i - token_price (c_t - b_i),   c_t = 1 - min(1, S / S_base) of t's step, 0 outside the steps

    b_i is the mean share of redundant tokens in the other responses of the group, so the price is no push on its own. A
    length term, on redundant tokens too, pays whatever makes a response short: to take two steps in one leaves fewer
    values to check. Here a step changes no other step's price (a discount of 0 between steps), so what a token decides
    about the steps to come is the verdict's business alone.
    """

    name = "step_price"
    paper = "a price on redundant steps"
    formula = "RLOO(1[correct]) - token_price (1[redundant], by its share, less the others' mean share)"
    settings_type = StepPriceSettings
    settings: StepPriceSettings

    @torch.no_grad()
    def group_facts(self, rewards_PG: Tensor, groups: GroupBatch) -> dict[str, Tensor]:
        """Return the verdict's advantage and, token by token, the price less its baseline."""
        weights_PGT = self._weights(groups)
        size, width = weights_PGT.shape[1:]
        share_PG = weights_PGT.sum(dim=2) / groups.lengths_PG.clamp(min=1)
        others_PG = (share_PG.sum(dim=1, keepdim=True) - share_PG) / max(1, size - 1)
        alive_PGT = torch.arange(width, device=weights_PGT.device) < groups.lengths_PG[:, :, None]
        gains_PGT = self.settings.token_price * (others_PG[:, :, None] - weights_PGT) * alive_PGT
        return super().group_facts(rewards_PG, groups) | {LENGTH: gains_PGT.float()}


class StepPriceOracle(SplitOracle, StepPrice):
    """The same by labels."""

    name = "step_price_oracle"
    paper = "bound of a price on redundant steps"
    formula = "RLOO(1[correct]) - token_price (1[redundant] less the others' mean share)"
    settings_type = StepPriceSettings
    settings: StepPriceSettings
