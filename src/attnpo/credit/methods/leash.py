"""LEASH: a length penalty whose price follows the mean length, up and down."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from attnpo.credit.batches import GroupBatch
from attnpo.credit.checks import AT_LEAST_0, TOKENS, setting
from attnpo.credit.methods.base import Method
from attnpo.credit.settings import GRPOSettings, MethodSettings
from attnpo.errors import ConfigError


@dataclass(frozen=True)
class LeashSettings(GRPOSettings):
    """Settings of LEASH."""

    target_length: int = setting(4096, TOKENS, "Mean length that is aimed at, in tokens.")
    first_price: float = setting(0.1, AT_LEAST_0, "Price lambda before the first step.")
    price_rate: float = setting(0.005, AT_LEAST_0, "What lambda gains a step and unit of mean L / target - 1.")
    greatest_price: float = setting(1.0, AT_LEAST_0, "Greatest lambda.")


class Leash(Method):
    """r = clip(s - lambda max(0, L / 4096 - 1), -1, 1), s = 1 if correct, -1 if not; GRPO's advantage.

    arXiv 2512.21540, official code. After each generation batch lambda <- clip(lambda + 0.005 (mean L / 4096 - 1), 0,
    1): too long on average makes length dearer, too short cheaper. A wrong response is at the floor whatever its
    length. Published with 8 responses of at most 32,768 tokens to 64 prompts, no KL, TRL's `epsilon_high` 0.28,
    learning rate 1e-6.
    """

    name = "leash"
    paper = "LEASH"
    arxiv = "2512.21540"
    source = "official code"
    formula = "r = clip(+-1 - lambda max(0, L / 4096 - 1), -1, 1); lambda += 0.005 (mean L / 4096 - 1); GRPO"
    settings_type = LeashSettings
    settings: LeashSettings

    def __init__(self, settings: MethodSettings | None = None) -> None:
        """Begin with the first price."""
        super().__init__(settings)
        self.price = self.next_price = self.settings.first_price

    def check(self, max_length: int, group_size: int, verifier: str = "math") -> None:
        """Refuse a target that no response exceeds."""
        if self.settings.target_length >= max_length:
            raise ConfigError(
                f"target_length: {self.settings.target_length} is not below the response limit of {max_length} tokens, "
                "so no response would pay; set it lower"
            )

    def observe(self, groups: GroupBatch) -> None:
        """Let what the last batch said of the price hold, and work out the next from this one."""
        self.price = self.next_price
        excess = float(groups.lengths_PG.double().mean()) / self.settings.target_length - 1
        raised = self.price + self.settings.price_rate * excess
        self.next_price = min(max(raised, 0.0), self.settings.greatest_price)

    def state_dict(self) -> dict[str, Any]:
        """Return the price of the next step."""
        return {"price": self.next_price}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from a `state_dict`."""
        self.price = self.next_price = float(state["price"])

    def metrics(self) -> dict[str, float]:
        """Return the price of this step."""
        return {"length_price": self.price}

    @torch.no_grad()
    def rewards(self, groups: GroupBatch) -> Tensor:
        """Return (P, G) rewards in [-1, 1]."""
        over_PG = (groups.lengths_PG.float() / self.settings.target_length - 1).clamp(min=0)
        return (torch.where(groups.correct_PG.bool(), 1.0, -1.0) - self.price * over_PG).clamp(-1, 1)
