"""DRPO: right responses compete with right ones by length, wrong with wrong by likelihood."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import torch
from torch import Tensor

from attnpo.credit.batches import GroupBatch
from attnpo.credit.checks import POSITIVE, TOKENS, optional, setting
from attnpo.credit.methods.base import Method
from attnpo.credit.policy import Policy, Probed, Sampled
from attnpo.credit.settings import MethodSettings

LOG_PROB: Final = "mean_log_prob"
"""Fact: mean log-probability of the response's tokens under the policy that drew it."""


@dataclass(frozen=True)
class DRPOSettings(MethodSettings):
    """Settings of DRPO; its advantage is its own."""

    lam: float = setting(0.1, POSITIVE, "Temperature lambda of the length's weights; small: the shortest takes all.")
    tau: float = setting(10.0, POSITIVE, "Temperature tau of the wrong responses' weights; large: all alike.")
    longest: int | None = setting(
        None, optional(TOKENS, "the response limit"), "Lmax in tokens (published: 8,192, the run's limit)."
    )


class DRPO(Method):
    """A = G softmax((1 - L / Lmax) / lambda) over the right ones, -G softmax(s / tau) over the wrong ones.

    arXiv 2510.04474, official code; s is the mean log-probability of a response's tokens. Right responses share a
    weight of 1, wrong ones of -1, so no right response is ever punished for its length. Groups all right or all wrong
    teach nothing. The gradient is that of sum A s / G: with TRL's `loss_type` grpo, which means over tokens and then
    over responses, and one update a batch it is the published one. Rewards of other functions are not read.

    Published with a trust region, 1000 max(0, KL - 1e-4) KL, in whose place stands TRL's `beta`; 8 responses of at
    most 8,192 tokens to 128 prompts, temperature 0.6, learning rate 2e-6.
    """

    name = "drpo"
    paper = "DRPO"
    arxiv = "2510.04474"
    source = "official code"
    formula = "A / G = softmax((1 - L / Lmax) / 0.1) among the right, -softmax(mean log pi / 10) among the wrong"
    idle_settings = ("advantage", "scale_advantages")
    extra_passes = "one, for the log-probability of each response"
    settings_type = DRPOSettings
    settings: DRPOSettings

    def probe(self, sampled: Sampled, policy: Policy) -> Probed:
        """Read the log-probability of each response."""
        ids = [rollout.response_ids for rollout in sampled.rollouts]
        stats = policy.token_stats(sampled.prompt_ids, ids)
        means = [float(each.log_probs_T.double().sum()) / max(len(each.log_probs_T), 1) for each in stats]
        return Probed({LOG_PROB: means})

    @torch.no_grad()
    def advantages(self, rewards_PG: Tensor, groups: GroupBatch | None = None) -> Tensor:
        """Return (P, G) advantages.

        Raises:
            DataError: the groups, their log-probabilities or the response limit are not given.
        """
        groups, own = self.known(groups, "groups"), self.settings
        longest = own.longest or self.known(groups.max_length, "the response limit")
        correct_PG = groups.correct_PG.bool()
        right_PG = _shares((1 - groups.lengths_PG.float() / longest) / own.lam, correct_PG)
        likely_PG = self.known(groups.facts.get(LOG_PROB), "log-probabilities of responses")
        wrong_PG = _shares(likely_PG / own.tau, ~correct_PG)
        mixed_P1 = (correct_PG.any(dim=1) & ~correct_PG.all(dim=1))[:, None]
        return correct_PG.shape[1] * (right_PG - wrong_PG) * mixed_P1


def _shares(logits_PG: Tensor, among_PG: Tensor) -> Tensor:
    """Return (P, G) float32 softmax over some of each group, 0 for the others."""
    shares_PG = logits_PG.float().masked_fill(~among_PG, -torch.inf).softmax(dim=1)
    return torch.where(among_PG, shares_PG, 0.0)
