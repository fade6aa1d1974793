"""Split credit: the verdict pays the steps that the answer rests on, the length what is still to come."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal, get_args

import torch
from torch import Tensor

from attnpo.credit.advantages import advantage_scale, group_advantages
from attnpo.credit.batches import REDUNDANT, GroupBatch, StepBatch
from attnpo.credit.checks import AT_LEAST_0, SWITCH, one_of, setting
from attnpo.credit.methods.oracle import BAR_SETTINGS, LabelScores
from attnpo.credit.methods.scored import Scored
from attnpo.credit.rescaling import step_support, token_advantages
from attnpo.credit.rewards import outcome_rewards
from attnpo.credit.settings import BarSettings
from attnpo.errors import ConfigError

from .length_term import LengthTerm, advantages_to_go, token_weights

Pressure = Literal["length", "redundant"]
VERDICT: Final = "verdict_advantage"
"""Fact: (B,) the verdict's part of the advantage."""
LENGTH: Final = "length_advantage"
"""Fact: the length term's part, (B,) for every token, or (B, T) token by token."""


@dataclass(frozen=True)
class SplitSettings(BarSettings):
    """Settings of split credit; with `mask_verdict` and `to_go` off it is TLMRE's advantage."""

    mask_verdict: bool = setting(
        True,
        SWITCH,
        "Give the verdict's advantage to each step by min(1, S / S_base), in right and wrong responses alike; off: to "
        "every token.",
    )
    graded: bool = setting(True, SWITCH, "Take S / S_base for a step below the bar; off: 0.")
    to_go: bool = setting(
        True, SWITCH, "Give each token the length term of what is still to come; off: that of the whole response."
    )
    pressure: Pressure = setting(
        "length",
        one_of(*get_args(Pressure)),
        "What the length term counts: length, or redundant, the tokens of steps below the bar (each step's share "
        "1 - min(1, S / S_base) of them).",
    )
    token_price: float = setting(
        0.0, AT_LEAST_0, "Reward that every counted token costs, in right and wrong responses alike, beside alpha_len."
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.whiten:
            raise ConfigError(
                "whiten: split credit gives a token two advantages, which are not whitened; set it to false"
            )


class SplitCredit(Scored):
    """The verdict's advantage for what the answer rests on, the length's for what is still to come (this project).

        r_i = v_i - l_i,   v_i = 1[correct] (and further reward functions),   l_i = alpha_len 1[correct] sigmoid(z_i)
        A_t = m_s(t) RLOO(v)_i + L_t,   m_k = min(1, S_k / S_base) (Eq. 6), 1 outside the steps

    RLOO is linear, so with m = 1 and L = RLOO(-l) this is TLMRE's advantage. m acts on right and wrong responses alike.
    It takes noise out of the verdict's gradient, and signal where a step below the bar decides whether the answer is
    right: it is not unbiased.

    L_t with `to_go`: minus what response i still pays from token t on, plus what the others of the group on average
    still pay there (`length_term`). With a `token_price` on the length that keeps the expectation of the
    gradient; with Eq. 3's term it does so up to what the group's mean and deviation know of the response.

    `pressure: redundant` standardizes (and prices) the tokens of redundant steps in place of the length, so leaving out
    an essential step earns nothing; without a final answer there is nothing that a step could be needed for, and all of
    its tokens count (labels are known all the same). Scores are then needed before rewards: they are read in TRL's pass
    under the sampling policy where it makes one, else in one pass more, whose tokens `attnpo/extra_pass_tokens` counts.
    With `group_sampler` too, which reads no rows while it draws, so that decoding stays as it is: that pass over prompt
    and response is what this pressure costs beyond TLMRE.
    """

    name = "split"
    paper = "split credit"
    source = "this project"
    formula = "min(1, S / S_base) RLOO(1[correct]) + length term of what is still to come, of all or redundant tokens"
    extra_passes = "none, but one without gradient for `pressure: redundant` where TRL makes none of its own"
    settings_type = SplitSettings
    credits_zero = True
    settings: SplitSettings

    @property
    def judges_steps(self) -> bool:
        """Whether rewards read the steps."""
        return self.settings.pressure == "redundant"

    def gamma(self, steps: StepBatch) -> Tensor:
        """Return (B, K) factors on the verdict's advantage."""
        return self.support(steps) if self.settings.mask_verdict else super().gamma(steps)

    def support(self, steps: StepBatch) -> Tensor:
        """Return (B, K) how far the answer rests on each step, in [0, 1]."""
        support_BK = step_support(self.step_scores(steps), steps, self.settings)
        return support_BK if self.settings.graded else support_BK.masked_fill(support_BK < 1, self.settings.gamma_floor)

    def redundancy(self, steps: StepBatch) -> Tensor:
        """Return (B, K) float64 share of each step's tokens that is redundant; all of it where nothing is answered."""
        return torch.where(steps.answer_lengths_B[:, None] > 0, 1 - self.support(steps).double(), 1.0)

    @torch.no_grad()
    def rewards(self, groups: GroupBatch) -> Tensor:
        """Return (P, G) rewards: the verdict less the length term.

        Raises:
            DataError: redundant tokens are counted, and the steps are not given.
        """
        amounts_PG = self._amounts(groups)
        return (outcome_rewards(groups.correct_PG) - self._term(groups).paid(groups.correct_PG, amounts_PG)).float()

    @torch.no_grad()
    def group_facts(self, rewards_PG: Tensor, groups: GroupBatch) -> dict[str, Tensor]:
        """Return the parts of the advantage; further rewards belong to the verdict's."""
        kind, size = self.settings.advantage, groups.correct_PG.shape[1]
        scale_P1 = advantage_scale(rewards_PG) if self.settings.scale_advantages else 1.0
        verdict_PG = outcome_rewards(groups.correct_PG) + (rewards_PG - self.rewards(groups))
        parts = {VERDICT: group_advantages(verdict_PG, kind) / scale_P1}
        term = self._term(groups)
        if self.settings.to_go:
            to_go_PGT = advantages_to_go(term, groups.correct_PG, groups.lengths_PG, self._weights(groups))
            share = (size - 1) / size if kind == "grpo" else 1.0
            return parts | {LENGTH: share * to_go_PGT / (scale_P1[:, :, None] if isinstance(scale_P1, Tensor) else 1)}
        paid_PG = term.paid(groups.correct_PG, self._amounts(groups))
        return parts | {LENGTH: group_advantages(-paid_PG, kind) / scale_P1}

    @torch.no_grad()
    def spread(self, steps: StepBatch, gamma_BK: Tensor, step_index_BT: Tensor) -> Tensor:
        """Return (B, T) advantages: the two parts together.

        Raises:
            DataError: the parts are not given.
        """
        verdict_B, length = (self.known(steps.facts.get(name), "its parts") for name in (VERDICT, LENGTH))
        verdict_BT = token_advantages(verdict_B, gamma_BK, step_index_BT)
        if length.dim() == 1:
            return verdict_BT + length[:, None]
        width = step_index_BT.shape[1]  # the longest response of all processes may be longer, or padding wider
        return verdict_BT + torch.nn.functional.pad(length[:, :width], (0, max(0, width - length.shape[1])))

    def _term(self, groups: GroupBatch) -> LengthTerm:
        own = self.settings
        return LengthTerm.of(groups.correct_PG, self._amounts(groups), own.alpha_len, own.token_price)

    def _amounts(self, groups: GroupBatch) -> Tensor:
        """Return (P, G) tokens that the length term counts."""
        if not self.judges_steps:
            return groups.lengths_PG
        steps = self.known(groups.steps, "steps")
        lengths_BK = torch.where(steps.owned_BK, steps.step_lengths_BK, 0)
        return (lengths_BK * self.redundancy(steps)).sum(dim=1).view_as(groups.correct_PG)

    def _weights(self, groups: GroupBatch) -> Tensor:
        """Return (P, G, T) what each token counts."""
        width = int(groups.lengths_PG.max())
        if not self.judges_steps:
            places_T = torch.arange(width, device=groups.lengths_PG.device)
            return (places_T < groups.lengths_PG[:, :, None]).double()
        steps = self.known(groups.steps, "steps")
        return token_weights(steps, self.redundancy(steps), width).view(*groups.correct_PG.shape, width)


class SplitOracle(LabelScores, SplitCredit):
    """Split credit with the truth about each step, whatever the pass rate: nothing rests on a redundant one."""

    name = "split_oracle"
    paper = "bound of split credit"
    formula = "split with 0 for redundant steps and 1 for all others in place of min(1, S / S_base)"
    idle_settings = (*BAR_SETTINGS, "num_heads", "graded")
    settings_type = SplitSettings
    settings: SplitSettings

    def redundancy(self, steps: StepBatch) -> Tensor:
        """Return (B, K) float64: labels need no answer to go by."""
        return 1 - self.support(steps).double()

    @torch.no_grad()
    def support(self, steps: StepBatch) -> Tensor:
        """Return (B, K) `gamma_floor` for redundant steps, 1 for all others.

        Raises:
            DataError: the steps carry no labels.
        """
        redundant_BK = steps.owned_BK & (self.known(steps.labels_BK, "step labels") == REDUNDANT)
        return torch.where(redundant_BK, self.settings.gamma_floor, 1.0)
