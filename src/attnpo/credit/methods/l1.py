"""L1 (LCPO): the prompt asks for a length; Exact wants it met, Max wants it kept below."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import torch
from torch import Tensor

from attnpo.credit.asking import Ask, extend_question
from attnpo.credit.batches import GroupBatch
from attnpo.credit.checks import AT_LEAST_0, SHARE, TOKENS, Allowed, setting
from attnpo.credit.methods.base import Method
from attnpo.credit.rewards import outcome_rewards
from attnpo.credit.seeding import stream
from attnpo.credit.settings import GRPOSettings
from attnpo.errors import ConfigError
from attnpo.rollouts import Prompt

TARGET: Final = "target_length"
"""Fact: the length n* in tokens that the prompt asked for."""

_SUFFIX = Allowed("a text that holds {n}", lambda value: isinstance(value, str) and "{n}" in value)


@dataclass(frozen=True)
class L1Settings(GRPOSettings):
    """Settings of L1-Exact."""

    alpha: float = setting(
        3e-4, AT_LEAST_0, "Reward lost per token away from n* (the paper's; public code has 1/3000 in Exact)."
    )
    shortest_request: int = setting(100, TOKENS, "Least n* that a prompt asks for, in tokens.")
    longest_request: int = setting(4000, TOKENS, "Greatest n* that a prompt asks for, in tokens.")
    suffix: str = setting(" Think for {n} tokens.", _SUFFIX, "What is added to the question; {n} is n*.")

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.shortest_request > self.longest_request:
            raise ConfigError(
                f"shortest_request: {self.shortest_request} is not allowed; use at most longest_request, "
                f"{self.longest_request}"
            )


@dataclass(frozen=True)
class L1MaxSettings(L1Settings):
    """Settings of L1-Max."""

    alpha: float = setting(
        3e-4, AT_LEAST_0, "Reward per token below n*, lost per token above (the paper's; public code has 1/1000)."
    )
    delta: float = setting(0.5, SHARE, "Reward of a correct response of exactly n* tokens.")
    suffix: str = setting(" Think for maximum {n} tokens.", _SUFFIX, "What is added to the question; {n} is n*.")


class L1Exact(Method):
    """r = 1[correct] - alpha * |n* - L| (arXiv 2503.04697, official code), with GRPO's advantage.

    n* is drawn from U{100, ..., 4000} once a group. Right and wrong responses pay alike. A model trained so wants the
    request in its prompt when it is used, too.
    """

    name = "l1_exact"
    paper = "L1-Exact (LCPO)"
    arxiv = "2503.04697"
    source = "official code"
    formula = "r = 1[correct] - 3e-4 |n* - L|, n* ~ U{100..4000} asked for in the prompt; GRPO"
    extra_tokens = "none; prompts longer by the request"
    settings_type = L1Settings
    also_needs = ("chat prompts that take a suffix",)
    settings: L1Settings

    def check(self, max_length: int, group_size: int, verifier: str = "math") -> None:
        """Refuse requests that no response can meet."""
        if self.settings.longest_request > max_length:
            raise ConfigError(
                f"longest_request: {self.settings.longest_request} is above the response limit of {max_length} tokens; "
                "set it lower, or raise max_completion_length"
            )

    def ask(self, prompt: Prompt, group_id: int, sample: int, progress_step: int) -> Ask:
        """Return the prompt with the request, the same for all responses of a group.

        Raises:
            DataError: the prompt is not chat messages that end with the user's.
        """
        own = self.settings
        rng = stream("l1", own.seed, progress_step, group_id)
        target = rng.randint(own.shortest_request, own.longest_request)
        return Ask(extend_question(prompt, own.suffix.replace("{n}", str(target))), facts={TARGET: target})

    @torch.no_grad()
    def rewards(self, groups: GroupBatch) -> Tensor:
        """Return (P, G) rewards.

        Raises:
            DataError: the requested lengths are not given.
        """
        return outcome_rewards(groups.correct_PG) - self.settings.alpha * self.below_target(groups).abs()

    def below_target(self, groups: GroupBatch) -> Tensor:
        """Return (P, G) float32 n* - L."""
        return self.known(groups.facts.get(TARGET), "the lengths that were asked for") - groups.lengths_PG


class L1Max(L1Exact):
    """r = 1[correct] * clip(alpha * (n* - L) + delta, 0, 1) (arXiv 2503.04697, official code), with GRPO's advantage.

    The paper trains L1-Max from L1-Exact, and its data ask for the exact length in half of the prompts; here all ask
    for a maximum.
    """

    name = "l1_max"
    paper = "L1-Max (LCPO)"
    formula = "r = 1[correct] clip(3e-4 (n* - L) + 1/2, 0, 1), n* ~ U{100..4000} asked for in the prompt; GRPO"
    settings_type = L1MaxSettings
    settings: L1MaxSettings

    @torch.no_grad()
    def rewards(self, groups: GroupBatch) -> Tensor:
        """Return (P, G) rewards in [0, 1].

        Raises:
            DataError: the requested lengths are not given.
        """
        share_PG = (self.settings.alpha * self.below_target(groups) + self.settings.delta).clamp(0, 1)
        return outcome_rewards(groups.correct_PG) * share_PG
