"""ARLCP: correct responses pay for words of reflection, and for length, relative to the group's correct ones."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cached_property
from typing import Final

import torch
from torch import Tensor

from attnpo.credit.asking import Ask
from attnpo.credit.batches import GroupBatch
from attnpo.credit.checks import SHARE, TEXTS, Allowed, setting
from attnpo.credit.methods.base import Method
from attnpo.credit.rewards import length_z_scores, outcome_rewards
from attnpo.credit.settings import MethodSettings
from attnpo.rollouts import Rollout

WORDS: Final = "reflection_words"
"""Fact: how many words of reflection the response holds."""

_THREE = Allowed(
    "a list of three numbers from 0 to 1",
    lambda value: isinstance(value, tuple) and len(value) == 3 and all(map(SHARE.holds, value)),
)
_TWO = Allowed(
    "a list of two numbers, the lower one first",
    lambda value: isinstance(value, tuple) and len(value) == 2 and value[0] <= value[1],
)


@dataclass(frozen=True)
class ARLCPSettings(MethodSettings):
    """Settings of ARLCP."""

    weight: float = setting(0.2, SHARE, "Weight of reflection and length together.")
    reflection_shares: tuple[float, ...] = setting(
        (0.25, 0.5, 0.75), _THREE, "Reflection's share of it: few words, some, many."
    )
    word_bounds: tuple[int, ...] = setting((40, 80), _TWO, "Up to how many words are few, and some.")
    words: tuple[str, ...] = setting(
        (
            "wait",
            "alternatively",
            "hold on",
            "another thought",
            "verify",
            "think again",
            "but",
            "however",
            "alternative",
            "check",
            "double-check",
            "oh",
            "hmm",
        ),
        TEXTS,
        "What counts as a word of reflection, upper and lower case alike.",
    )


class ARLCP(Method):
    """r = 1[correct] (1 - w sigmoid(z_R) - (0.2 - w) sigmoid(z_L)), RLOO (arXiv 2602.12113, official code).

    R counts words of reflection in the response, think part and answer; w = 0.05 up to 40 of them, 0.1 up to 80, 0.15
    above. z standardizes among the correct responses of the group (a sample's standard deviation). Published with 16
    responses of at most 16,384 tokens to 128 prompts, a KL penalty of 1e-3 in the reward, learning rate 2e-6.
    """

    name = "arlcp"
    paper = "ARLCP"
    arxiv = "2602.12113"
    source = "official code"
    formula = "r = 1[correct] (1 - w sigmoid(z_R) - (0.2 - w) sigmoid(z_L)), R reflection words, w 0.05 to 0.15; RLOO"
    settings_type = ARLCPSettings
    logged_facts = (WORDS,)
    settings: ARLCPSettings

    @cached_property
    def _pattern(self) -> re.Pattern[str]:
        return re.compile(rf"\b(?:{'|'.join(map(re.escape, self.settings.words))})\b", re.IGNORECASE)

    def facts(self, rollout: Rollout, ask: Ask) -> dict[str, float]:
        """Return how many words of reflection the response holds."""
        return {WORDS: float(len(self._pattern.findall(rollout.response)))}

    @torch.no_grad()
    def rewards(self, groups: GroupBatch) -> Tensor:
        """Return (P, G) rewards in [1 - weight, 1] for correct responses, 0 for the others.

        Raises:
            DataError: the words were not counted.
        """
        own = self.settings
        words_PG = self.known(groups.facts.get(WORDS), "words of reflection").long()
        above_PG = (words_PG[:, :, None] > words_PG.new_tensor(own.word_bounds)).sum(dim=2)
        share_PG = words_PG.new_tensor(own.reflection_shares, dtype=torch.float32)[above_PG]
        reflection_PG, length_PG = (
            length_z_scores(groups.correct_PG, count_PG, sample=True).sigmoid()
            for count_PG in (words_PG, groups.lengths_PG)
        )
        term_PG = share_PG * reflection_PG + (1 - share_PG) * length_PG
        return outcome_rewards(groups.correct_PG) * (1 - own.weight * term_PG)
