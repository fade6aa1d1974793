"""SAS: no advantage for the doubtful steps of right responses, nor for the sure ones of wrong responses."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

import torch
from torch import Tensor

from attnpo.credit.batches import GroupBatch, StepBatch
from attnpo.credit.checks import SHARE, SWITCH, TOKENS, one_of, optional, setting
from attnpo.credit.methods.attnpo_shuffled import shuffle_scores
from attnpo.credit.methods.within_limit import WithinLimit
from attnpo.credit.settings import GRPOSettings

Responses = Literal["both", "correct", "wrong"]
_MARGIN = 1e-6
"""Keeps a share of steps that is whole, such as 0.3 of 10, on its side."""


@dataclass(frozen=True)
class SASSettings(GRPOSettings):
    """Settings of SAS."""

    share: float = setting(0.3, SHARE, "Share of a response's steps whose advantage is taken away.")
    responses: Responses = setting("both", one_of(*get_args(Responses)), "Whose steps lose their advantage.")
    limit: int | None = setting(
        None,
        optional(TOKENS, "the run's"),
        "Limit on a response in tokens, which is what shortens (published: 4,096, the run's limit).",
    )
    released_code: bool = setting(
        False,
        SWITCH,
        "Count as the released code does, which lacks brackets: every step of correct responses, none of wrong ones.",
    )


class SAS(WithinLimit):
    """GRPO(1[correct]); A = 0 on the 30 % least likely steps of right responses, the 30 % likeliest of wrong ones.

    arXiv 2604.24003, official code. A step's score is the mean log-probability of its tokens; of K steps ceil(0.3 K)
    of a right response lose their advantage, and all but ceil(0.7 K) of a wrong one, which is often only cut off. Tags
    and final answer keep it. Only the order of scores counts, so any `signal` will do, and equal scores are ordered at
    random; steps are paragraphs (`segmentation`), and the released code's random steps are the signal of that name.

    Published with 8 responses of at most 4,096 tokens to 128 prompts, TRL's `beta` 1e-3, learning rate 1e-6.
    """

    name = "sas"
    paper = "SAS"
    arxiv = "2604.24003"
    source = "official code"
    formula = "GRPO(1[correct]); A = 0 on the 30 % of steps with lowest mean log pi if correct, with highest if wrong"
    settings_type = SASSettings
    needs_scores = True
    signal = "log_prob"
    wants_end = False
    settings: SASSettings

    def response_limit(self, progress_step: int) -> int | None:
        """Return the limit in tokens, where there is one of its own."""
        return self.settings.limit

    def limits(self, groups: GroupBatch) -> Tensor | int:
        """Return the limit in tokens."""
        return self.settings.limit or groups.lengths_PG.max()

    @torch.no_grad()
    def gamma(self, steps: StepBatch) -> Tensor:
        """Return (B, K) factors: 0 on the steps that lose their advantage, 1 elsewhere."""
        own = self.settings
        scored_BK = steps.owned_BK & steps.scores_BK.isfinite()
        count_B1 = scored_BK.sum(dim=1, keepdim=True)
        correct_B1 = steps.correct_B.bool()[:, None]
        places_BK = torch.arange(scored_BK.shape[1], device=scored_BK.device).expand(scored_BK.shape)
        drawn_BK = shuffle_scores(places_BK, scored_BK, steps.row_ids_B, own.seed).argsort(dim=1)
        known_BK = torch.where(scored_BK, steps.scores_BK, torch.inf)
        order_BK = drawn_BK.gather(1, known_BK.gather(1, drawn_BK).argsort(dim=1, stable=True))
        rank_BK = order_BK.argsort(dim=1)
        lowest_B1, rest_B1 = (_lost(count_B1, share, own.released_code) for share in (own.share, 1 - own.share))
        lost_BK = torch.where(correct_B1, rank_BK < lowest_B1, rank_BK >= rest_B1)
        if own.responses != "both":
            lost_BK &= correct_B1 == (own.responses == "correct")
        return torch.ones_like(steps.scores_BK, dtype=torch.float32).masked_fill(lost_BK & scored_BK, 0.0)


def _lost(count_B1: Tensor, share: float, released_code: bool) -> Tensor:
    """Return (B, 1) ceil(share K), or what the released code makes of it: ceil(K - 1 + share)."""
    part_B1 = count_B1 - 1 + share if released_code else count_B1 * share
    return (part_B1 - _MARGIN).ceil()
