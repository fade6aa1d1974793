"""Steps scored by what deleting them does to the answer, while training: the expensive bound of a step signal."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import torch
from torch import Tensor

from attnpo.credit.batches import StepBatch
from attnpo.credit.checks import POSITIVE, SHARE, setting
from attnpo.credit.methods.attnpo import AttnPO
from attnpo.credit.methods.oracle import BAR_SETTINGS
from attnpo.credit.methods.scored import Scored
from attnpo.credit.policy import Policy, Probed, Sampled
from attnpo.credit.rescaling import step_baseline
from attnpo.credit.seeding import stream
from attnpo.credit.settings import BarSettings, CreditSettings
from attnpo.errors import ConfigError
from attnpo.labeling.causal import TraceBuilder
from attnpo.rollouts import Rollout

from .split import SplitCredit, SplitSettings

EFFECT: Final = "deletion_effect"
"""Value of a step: log p(F | response) - log p(F | response without it), in nats."""
MEASURED: Final = "measured"
"""Fact: 1 where a response's steps were deleted."""


@dataclass(frozen=True)
class EffectSettings(BarSettings):
    """What is measured, and which effect lies on the bar. Both values are this project's."""

    measured_share: float = setting(
        0.25,
        SHARE,
        "Share of responses whose steps are deleted, chosen at random; the others' steps lie on S_base, which is plain "
        "credit. As a bound it has to be 1.",
    )
    effect_bar: float = setting(1.0, POSITIVE, "Effect of a deletion that lies on S_base, in nats.")


@dataclass(frozen=True)
class CausalSettings(EffectSettings, CreditSettings):
    """AttnPO's settings, and what is measured."""


@dataclass(frozen=True)
class CausalSplitSettings(EffectSettings, SplitSettings):
    """Split credit's settings, and what is measured."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.pressure == "redundant" and self.measured_share < 1:
            raise ConfigError(
                f"measured_share: {self.measured_share:g} of the responses would pay for what is redundant and the "
                "others not; set it to 1, or pressure to length"
            )


class EffectScores(Scored):
    """S = S_base * max(0, effect) / effect_bar, effect = log p(F) - log p(F without the step) (this project).

    A response with K steps costs K + 1 passes over it, counted in `attnpo/extra_pass_tokens`. Each step is deleted
    alone, so steps that say the same hide each other.

    It bounds what a step signal can do with `measured_share` 1 only: responses that are not measured get plain credit,
    which dilutes the bound. The default is for trying it out; rows of a suite that stand for the bound set 1.
    """

    extra_passes = "K + 1 a measured response of K steps"
    needs_scores = False
    idle_settings = (*BAR_SETTINGS, "num_heads")
    settings: EffectSettings

    def probe(self, sampled: Sampled, policy: Policy) -> Probed:
        """Delete each step of some responses, and read off what their answer loses."""
        build, rollouts = TraceBuilder(policy.tokenizer), sampled.rollouts
        effects = [[0.0] * len(rollout.steps) for rollout in rollouts]
        chosen = [row for row, r in enumerate(rollouts) if _has_choice(r) and self._is_chosen(r, sampled.progress_step)]
        contexts: list[tuple[int, ...]] = []
        answers: list[tuple[int, ...]] = []
        deletions: list[tuple[int, int | None]] = []
        for row in chosen:
            trace = build(rollouts[row])
            for step in (None, *trace.deletable):
                deleted = () if step is None else (step,)
                contexts.append((*sampled.prompt_ids[row], *trace.think_without(deleted)))
                answers.append(trace.answer)
                deletions.append((row, step))
        whole: dict[int, float] = {}
        for (row, step), stats in zip(deletions, policy.token_stats(contexts, answers), strict=True):
            total = float(stats.log_probs_T.double().sum())
            if step is None:
                whole[row] = total
            else:
                effects[row][step] = whole[row] - total
        measured = [float(row in whole) for row in range(len(rollouts))]
        return Probed(facts={MEASURED: measured}, step_values={EFFECT: effects})

    @torch.no_grad()
    def shares(self, steps: StepBatch) -> Tensor:
        """Return (B, K) effects as multiples of the one that lies on S_base; 1 where nothing was measured.

        Raises:
            DataError: the effects are not given.
        """
        effects_BK = self.known(steps.step_values.get(EFFECT), "effects of deletions")
        measured_B = self.known(steps.facts.get(MEASURED), "effects of deletions")
        return torch.where(measured_B[:, None] > 0, effects_BK.clamp(min=0) / self.settings.effect_bar, 1.0)

    @torch.no_grad()
    def step_scores(self, steps: StepBatch) -> Tensor:
        """Return (B, K) scores by effect."""
        return step_baseline(steps, self.settings)[:, None] * self.shares(steps)

    def _is_chosen(self, rollout: Rollout, progress_step: int) -> bool:
        rng = stream(self.name, self.settings.seed, progress_step, rollout.problem_id, rollout.sample)
        return rng.random() < self.settings.measured_share


class Causal(EffectScores, AttnPO):
    """AttnPO by what deleting a step does to the answer."""

    name = "causal"
    paper = "bound of AttnPO"
    source = "this project"
    formula = "AttnPO with S = S_base max(0, effect) / effect_bar, effect = log p(F) - log p(F without the step)"
    settings_type = CausalSettings
    settings: CausalSettings


class SplitCausal(EffectScores, SplitCredit):
    """Split credit by what deleting a step does to the answer, whatever the pass rate.

    `pressure: redundant` holds the responses of a group against each other and needs all of them measured.
    """

    name = "split_causal"
    paper = "bound of split credit"
    source = "this project"
    formula = (
        "split with max(0, effect) / effect_bar in place of S / S_base, effect = log p(F) - log p(F without the step)"
    )
    settings_type = CausalSplitSettings
    settings: CausalSplitSettings

    @torch.no_grad()
    def support(self, steps: StepBatch) -> Tensor:
        """Return (B, K) how far the answer rests on each step, in [0, 1]."""
        shares_BK = self.shares(steps)
        below_BK = steps.owned_BK & (shares_BK < 1)
        support_BK = torch.where(below_BK, shares_BK if self.settings.graded else 0.0, 1.0)
        return support_BK.clamp(min=self.settings.gamma_floor)


def _has_choice(rollout: Rollout) -> bool:
    """Whether it has two steps or more, and a final answer."""
    owners: Sequence[int] = [k for k, step in enumerate(rollout.steps) if step.tokens[1] > step.tokens[0]]
    return len(owners) >= 2 and rollout.answer_tokens[1] > rollout.answer_tokens[0]
