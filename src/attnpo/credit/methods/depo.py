"""DEPO: what follows the first answer is rewarded less, the more so the more it doubts; length weighs by difficulty."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Final

import torch
from torch import Tensor

from attnpo.credit.advantages import group_advantages
from attnpo.credit.batches import GroupBatch, StepBatch
from attnpo.credit.checks import AT_LEAST_0, SHARE, Allowed, optional, setting
from attnpo.credit.methods.with_detector import REDUNDANT_FROM, REDUNDANT_TO, GRPODetectorSettings, WithDetector
from attnpo.credit.policy import Policy, Probed, Sampled
from attnpo.credit.rewards import length_z_scores
from attnpo.segmentation import PhraseFamilies

REFLECTIONS: Final = "reflections"
"""Fact: how many phrases open a reflection behind the first answer."""

_FILE = optional(Allowed("the name of a YAML file", lambda value: isinstance(value, str)), "the packaged list")


@dataclass(frozen=True)
class DEPOSettings(GRPODetectorSettings):
    """Settings of DEPO; no values of alpha and beta are known here, so these are this project's choice."""

    alpha: float = setting(
        0.2, AT_LEAST_0, "Strength of the length penalty, and how fast it grows with d (chosen here)."
    )
    beta: float = setting(
        0.5, SHARE, "Greatest share taken off the redundant part, and how fast K reaches it (chosen here)."
    )
    phrases_file: str | None = setting(None, _FILE, "YAML file with phrase families whose confused phrases count as K.")


class DEPO(WithDetector):
    """A length penalty that grows with the pass rate; less reward after the answer (arXiv 2510.15374, secondary notes).

        A = GRPO - alpha (1 - e^(-alpha d)) z   for correct responses, GRPO for the others

    d is the number of correct responses in the group, z the length, standardized among them. A correct response whose
    advantage falls below the least positive one of the group's correct ones gets that one, so that none is punished.
    The tokens of a correct response between the end of the first sentence that reveals its answer and the end of its
    think part get A (1 - beta (1 - e^(-beta K))), with K the number of reflection phrases among them: those of the
    segmentation's confused family. Closing tag and final answer keep A.

    The paper asks a generative reward model where the answer stands first; here the verifier does (see
    `attnpo.credit.first_answer`), or a `module:function`.
    """

    name = "depo"
    paper = "DEPO"
    arxiv = "2510.15374"
    source = "secondary notes"
    formula = "A = GRPO - alpha (1 - e^(-alpha d)) z >= least positive; after the answer x (1 - beta (1 - e^(-beta K)))"
    extra_tokens = "none: the verifier stands in for the judge model"
    settings_type = DEPOSettings
    settings: DEPOSettings

    @cached_property
    def phrases(self) -> PhraseFamilies:
        """The phrases that are counted."""
        return (
            PhraseFamilies.load()
            if self.settings.phrases_file is None
            else PhraseFamilies.load(self.settings.phrases_file)
        )

    def check(self, max_length: int, group_size: int, verifier: str = "math") -> None:
        """Read the phrases before anything is sampled."""
        super().check(max_length, group_size, verifier)
        _ = self.phrases

    def probe(self, sampled: Sampled, policy: Policy) -> Probed:
        """Find each correct response's redundant part, and count its reflections."""
        rollouts = sampled.rollouts
        facts = {name: [0.0] * len(rollouts) for name in (REDUNDANT_FROM, REDUNDANT_TO, REFLECTIONS)}
        for number, thought in self.thoughts_of(rollouts, policy).items():
            if thought.answer is not None:
                behind = thought.text[thought.answer.chars[1] : thought.think[1]]
                facts[REDUNDANT_FROM][number], facts[REDUNDANT_TO][number] = thought.answer.tokens, thought.end
                facts[REFLECTIONS][number] = sum(cut.family == "confused" for cut in self.phrases.cuts(behind))
        return Probed(facts)

    @torch.no_grad()
    def advantages(self, rewards_PG: Tensor, groups: GroupBatch | None = None) -> Tensor:
        """Return (P, G) advantages with the length penalty, clipped.

        Raises:
            DataError: the groups are not given.
        """
        groups, alpha = self.known(groups, "groups"), self.settings.alpha
        advantages_PG = group_advantages(rewards_PG, self.settings.advantage, self.settings.scale_advantages)
        correct_PG = groups.correct_PG.bool()
        solved_P1 = correct_PG.sum(dim=1, keepdim=True)
        strength_P1 = alpha * (1 - (-alpha * solved_P1).exp())
        penalized_PG = advantages_PG - strength_P1 * length_z_scores(correct_PG, groups.lengths_PG)
        positive_PG = torch.where(correct_PG & (penalized_PG > 0), penalized_PG, torch.inf)
        least_P1 = positive_PG.amin(dim=1, keepdim=True)
        least_P1 = torch.where(least_P1.isinf(), 0.0, least_P1)
        return torch.where(correct_PG, penalized_PG.maximum(least_P1), advantages_PG)

    @torch.no_grad()
    def spread(self, steps: StepBatch, gamma_BK: Tensor, step_index_BT: Tensor) -> Tensor:
        """Return (B, T) advantages, those of redundant parts of correct responses made smaller.

        Raises:
            DataError: the redundant parts are not given.
        """
        beta = self.settings.beta
        start_B, stop_B, count_B = (
            self.known(steps.facts.get(name), "redundant parts") for name in (REDUNDANT_FROM, REDUNDANT_TO, REFLECTIONS)
        )
        advantages_BT = super().spread(steps, gamma_BK, step_index_BT)
        place_T = torch.arange(advantages_BT.size(1), device=advantages_BT.device)
        redundant_BT = (place_T >= start_B[:, None]) & (place_T < stop_B[:, None]) & steps.correct_B.bool()[:, None]
        factor_B1 = (1 - beta * (1 - (-beta * count_B).exp()))[:, None]
        return torch.where(redundant_BT, advantages_BT * factor_B1, advantages_BT)
