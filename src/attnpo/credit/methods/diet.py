"""DIET: a length advantage beside the outcome's, aimed at a target length and weighted by the pass rate."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from attnpo.credit.advantages import group_advantages
from attnpo.credit.batches import GroupBatch
from attnpo.credit.checks import AT_LEAST_0, SHARE, TOKENS, optional, setting
from attnpo.credit.methods.base import Method
from attnpo.credit.seeding import stream
from attnpo.credit.settings import GRPOSettings


@dataclass(frozen=True)
class DietSettings(GRPOSettings):
    """Settings of DIET."""

    weight: float = setting(0.5, AT_LEAST_0, "Weight of the length advantage at p = 1 and t = 0.")
    half_period: int = setting(100, TOKENS, "Optimizer steps in which the cosine takes the weight from 1 to 0.")
    longest_target: int | None = setting(
        None,
        optional(TOKENS, "the response limit"),
        "Target length of a prompt that is never solved, in tokens (published: 8,192, the run's limit).",
    )
    target_band: float = setting(0.1, SHARE, "Width of the band that the target is drawn from, as a share of that.")


class DIET(Method):
    """A = GRPO(1[correct]) + w * GRPO(s), each normalised alone (arXiv 2505.19217, official code).

    s = -z(max(L - T*, 0)) for correct responses (z over all responses of the group, population std), 0 for wrong
    ones; T* is drawn from U{Lmax (e - 0.1), ..., Lmax e} with e = 1 - p, 0 where e = 0; w = 0.5 p (cos(pi t / 100)
    + 1) / 2, so it comes back after 200 steps. T* is drawn once a group here, anew for each response in the official
    code, which also gives -1 to responses that box late or often.
    """

    name = "diet"
    paper = "DIET"
    arxiv = "2505.19217"
    source = "official code"
    formula = "A = GRPO(1[correct]) + w GRPO(s), s = -z(max(L - T*, 0)) if correct, w = p (cos(pi t / 100) + 1) / 4"
    settings_type = DietSettings
    settings: DietSettings

    @torch.no_grad()
    def advantages(self, rewards_PG: Tensor, groups: GroupBatch | None = None) -> Tensor:
        """Return (P, G) advantages of the rewards plus the weighted ones of length.

        Raises:
            DataError: the groups, their numbers or the response limit are not given.
        """
        groups = self.known(groups, "groups")
        own = self.settings
        outcome_PG = group_advantages(rewards_PG, own.advantage, own.scale_advantages)
        length_PG = group_advantages(self.length_scores(groups), own.advantage, own.scale_advantages)
        return outcome_PG + self.length_weight(groups)[:, None] * length_PG

    @torch.no_grad()
    def length_scores(self, groups: GroupBatch) -> Tensor:
        """Return (P, G) float32 s."""
        excess_PG = (groups.lengths_PG - self.target_lengths(groups)[:, None]).clamp(min=0).double()
        deviation_PG = excess_PG - excess_PG.mean(dim=1, keepdim=True)
        std_P1 = deviation_PG.square().mean(dim=1, keepdim=True).sqrt()
        z_PG = torch.where(std_P1 > 0, deviation_PG / std_P1, 0.0)
        return -torch.where(groups.correct_PG.bool(), z_PG, 0.0).float()

    def target_lengths(self, groups: GroupBatch) -> Tensor:
        """Return (P,) int64 targets T*, drawn from seed, optimizer step and number of the group alone."""
        longest = self.settings.longest_target or self.known(groups.max_length, "the response limit")
        ids_P = self.known(groups.group_ids_P, "the groups' numbers")
        size = groups.correct_PG.shape[1]
        targets = []
        for group_id, wrong in zip(ids_P.tolist(), (size - groups.correct_PG.long().sum(dim=1)).tolist(), strict=True):
            rng = stream("diet", self.settings.seed, groups.progress_step, group_id)
            low, high = int(longest * (wrong / size - self.settings.target_band)), int(longest * wrong / size)
            targets.append(rng.randint(low, high) if wrong else 0)
        return groups.lengths_PG.new_tensor(targets, dtype=torch.long)

    def length_weight(self, groups: GroupBatch) -> Tensor:
        """Return (P,) float32 w."""
        cosine = (math.cos(math.pi * groups.progress_step / self.settings.half_period) + 1) / 2
        return self.settings.weight * cosine * groups.pass_rate_P
