"""GFPO: many responses are sampled, and those that are short, or earn much a token, trained on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, get_args

import torch
from torch import Tensor

from attnpo.credit.batches import GroupBatch
from attnpo.credit.checks import SWITCH, TOKENS, Allowed, one_of, setting
from attnpo.credit.methods.base import Method
from attnpo.credit.selection import smallest
from attnpo.credit.settings import GRPOSettings, MethodSettings
from attnpo.errors import ConfigError

Metric = Literal["length", "reward_per_token"]

_FOUR = Allowed(
    "a list of four integers of at least 1",
    lambda value: isinstance(value, tuple) and len(value) == 4 and all(map(TOKENS.holds, value)),
)


@dataclass(frozen=True)
class GFPOSettings(GRPOSettings):
    """Settings of GFPO."""

    keep: int = setting(8, TOKENS, "Responses of each group that are trained on, k; a group of no more keeps all.")
    metric: Metric = setting(
        "length", one_of(*get_args(Metric)), "Which are kept: the shortest, or those with the highest reward a token."
    )
    adaptive: bool = setting(False, SWITCH, "Keep as many as adaptive_keep says, by the prompt's difficulty.")
    adaptive_keep: tuple[int, ...] = setting(
        (8, 8, 6, 4), _FOUR, "k of the hardest quarter of prompts, the next, the next and the easiest."
    )


class GFPO(Method):
    """GRPO among the k responses of a group that are shortest, or earn most a token; A = 0 for the others.

    arXiv 2508.09726, the paper. Mean and standard deviation are those of the k, right and wrong alike. Where as much is
    earned a token, as by all wrong responses, the shorter ones stay; of equal lengths at the border all do. The
    adaptive form keeps fewer of easy prompts: quarters are those of the mean rewards of all groups so far in the run,
    this batch included. Published with 16 to 24 responses a prompt, k at most 8, learning rate 1e-7.
    """

    name = "gfpo"
    paper = "GFPO"
    arxiv = "2508.09726"
    source = "the paper"
    formula = "r = 1[correct]; GRPO among the 8 shortest of the group (or highest r / L), A = 0 elsewhere"
    extra_tokens = "16 to 24 responses a prompt, of which 8 are trained on"
    settings_type = GFPOSettings
    settings: GFPOSettings

    def __init__(self, settings: MethodSettings | None = None) -> None:
        """Begin without groups."""
        super().__init__(settings)
        self.seen: dict[float, int] = {}

    @property
    def learns_from_groups(self) -> bool:
        """Whether the run's pass rates decide how many are kept."""
        return self.settings.adaptive or type(self).observe is not GFPO.observe

    def check(self, max_length: int, group_size: int, verifier: str = "math") -> None:
        """Refuse to keep everything."""
        own = self.settings
        name, least = ("adaptive_keep", min(own.adaptive_keep)) if own.adaptive else ("keep", own.keep)
        if least >= group_size:
            raise ConfigError(
                f"{name}: {least} of the {group_size} responses to a prompt are all of them, so nothing would be "
                "selected; set it lower, or raise num_generations"
            )

    def observe(self, groups: GroupBatch) -> None:
        """Count the groups by their pass rate."""
        if self.settings.adaptive:
            for rate in groups.pass_rate_P.tolist():
                self.seen[rate] = self.seen.get(rate, 0) + 1

    def state_dict(self) -> dict[str, Any]:
        """Return how many groups had which pass rate."""
        return {"pass_rates": sorted(self.seen.items())}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from a `state_dict`."""
        self.seen = {float(rate): int(count) for rate, count in state["pass_rates"]}

    @torch.no_grad()
    def select(self, rewards_PG: Tensor, groups: GroupBatch) -> Tensor:
        """Return (P, G) bool, the responses that are kept."""
        lengths_PG = groups.lengths_PG.double()
        values_PG = lengths_PG if self.settings.metric == "length" else -rewards_PG / lengths_PG
        if not self.settings.adaptive:
            return smallest(values_PG, torch.full_like(groups.lengths_PG[:, 0], self.settings.keep), lengths_PG)
        quarters = [self.quarter(rate) for rate in groups.pass_rate_P.tolist()]
        return smallest(values_PG, groups.lengths_PG.new_tensor(self.settings.adaptive_keep)[quarters], lengths_PG)

    def quarter(self, rate: float) -> int:
        """Return in which quarter of the pass rates so far one lies: 0 the hardest, 3 the easiest."""
        below = sum(count for other, count in self.seen.items() if other < rate)
        return min(4 * below // max(sum(self.seen.values()), 1), 3)
