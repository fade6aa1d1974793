"""Options for AttnPO that the paper does not have: each changes the factors that Eq. 5-8 gave, and by default nothing.

They are this project's own, tried on the small world, where the truth about every step is known.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

import torch
from torch import Tensor

from attnpo.credit.batches import StepBatch
from attnpo.credit.checks import AT_LEAST_0, SHARE, SWITCH, Range, one_of, setting
from attnpo.credit.rescaling import step_baseline
from attnpo.credit.settings import CreditSettings

Bar = Literal["answer_share", "mean_score"]
IncorrectCredit = Literal["uniform", "spare", "blame"]

_SIGNED = Range(-1, 1)
_AT_LEAST_1 = Range(1)


@dataclass(frozen=True)
class OptionSettings(CreditSettings):
    """AttnPO's settings and the options; the defaults are the paper's method."""

    bar: Bar = setting(
        "answer_share",
        one_of(*get_args(Bar)),
        "What a score is held against: answer_share (Eq. 6), or mean_score, the mean that the response's own think "
        "tokens score, which a head set of any attention mass has half above and half below.",
    )
    attenuation_strength: float = setting(
        1.0, AT_LEAST_0, "PA takes this many times 1 - gamma away; above 1, redundant steps can be punished outright."
    )
    attenuation_floor: float = setting(
        0.0,
        _SIGNED,
        "Least gamma that a strength other than 1 may leave; below 0, PA may turn a reward into punishment.",
    )
    incorrect_credit: IncorrectCredit = setting(
        "uniform",
        one_of(*get_args(IncorrectCredit)),
        "Incorrect responses: uniform (the paper: untouched), spare (steps above |F| / |o| are punished less) or "
        "blame (steps below it are).",
    )
    incorrect_gamma: float = setting(0.5, SHARE, "The factor of the steps of incorrect responses punished less.")
    redistribute: bool = setting(
        False, SWITCH, "Give what PA and NA take from some steps of a response to its other steps."
    )
    gamma_ceiling: float = setting(2.0, _AT_LEAST_1, "Largest gamma that redistribute may give.")


@torch.no_grad()
def relative_scores(scores_BK: Tensor, steps: StepBatch, settings: OptionSettings) -> Tensor:
    """Return scores on the scale of Eq. 6: with `mean_score` their mean over think tokens becomes |F| / |o|.

    So the bar p ** alpha_base * |F| / |o| asks whether a step scores above the response's own mean, however much of
    its attention the answer spends on the think part at all. Unchanged where that mean is 0.

    Args:
        scores_BK: (B, K) scores, at least 0.
        steps: the responses.
        settings: `bar` and `baseline_denominator` are read.
    """
    if settings.bar == "answer_share":
        return scores_BK
    scored_BK = steps.owned_BK & ~scores_BK.isnan()
    tokens_BK = torch.where(scored_BK, steps.step_lengths_BK, 0).float()
    known_BK = torch.where(scored_BK, scores_BK.float(), 0.0)
    mean_B = (known_BK * tokens_BK).sum(dim=1) / tokens_BK.sum(dim=1).clamp(min=1)
    scale_B = torch.where(mean_B > 0, plain_bar(steps, settings) / mean_B, 1.0)
    return scores_BK.float() * scale_B[:, None]


@torch.no_grad()
def plain_bar(steps: StepBatch, settings: CreditSettings) -> Tensor:
    """Return (B,) |F| / |o|, the bar of Eq. 6 without the pass rate."""
    return step_baseline(
        steps, CreditSettings(difficulty_baseline=False, baseline_denominator=settings.baseline_denominator)
    )


@torch.no_grad()
def strengthen(gamma_BK: Tensor, steps: StepBatch, settings: OptionSettings) -> Tensor:
    """Return factors whose distance from 1 is multiplied where the advantage is positive: 1 - strength * (1 - gamma).

    Args:
        gamma_BK: (B, K) factors by Eq. 7.
        steps: the responses.
        settings: `attenuation_strength` and `attenuation_floor` are read.
    """
    if settings.attenuation_strength == 1:
        return gamma_BK
    stronger_BK = (1 - settings.attenuation_strength * (1 - gamma_BK)).clamp(min=settings.attenuation_floor)
    attenuated_BK = (steps.advantages_B > 0)[:, None] & (gamma_BK < 1)
    return torch.where(attenuated_BK, stronger_BK, gamma_BK)


@torch.no_grad()
def treat_incorrect(gamma_BK: Tensor, scores_BK: Tensor, steps: StepBatch, settings: OptionSettings) -> Tensor:
    """Return factors for incorrect responses too: punishment that goes by attention.

    `spare`: what the wrong answer rests on may still be sound, so steps above |F| / |o| are punished less. `blame`:
    what the wrong answer hardly looked at did not cause it, so steps below are. Both need two steps or more and an
    answer. Responses without punishment stay as they are.

    Args:
        gamma_BK: (B, K) factors so far; 1 for every step of an incorrect response.
        scores_BK: (B, K) scores as `relative_scores` returned them.
        steps: the responses.
        settings: `incorrect_credit` and `incorrect_gamma` are read.
    """
    if settings.incorrect_credit == "uniform":
        return gamma_BK
    rows_B = ~steps.correct_B.bool() & (steps.advantages_B < 0)
    bar_B1 = plain_bar(steps, settings)[:, None]
    spared_BK = scores_BK > bar_B1 if settings.incorrect_credit == "spare" else scores_BK < bar_B1
    return gamma_BK.masked_fill(spared_BK & steps.comparable_BK & rows_B[:, None], settings.incorrect_gamma)


@torch.no_grad()
def redistribute(gamma_BK: Tensor, steps: StepBatch, settings: OptionSettings) -> Tensor:
    """Return factors with the same sum over a response's think tokens as without credit, as far as the ceiling allows.

    What was taken from the touched steps (gamma < 1) goes to the others in equal parts a token: credit then moves a
    response's advantage between its steps and is no length penalty of its own. What the others cannot hold is lost.
    Nothing changes where no step was touched, or every one.

    Args:
        gamma_BK: (B, K) factors so far.
        steps: the responses.
        settings: `redistribute` and `gamma_ceiling` are read.
    """
    if not settings.redistribute:
        return gamma_BK
    tokens_BK = torch.where(steps.owned_BK, steps.step_lengths_BK, 0).float()
    taken_B = ((1 - gamma_BK) * tokens_BK).sum(dim=1)
    others_BK = steps.owned_BK & (gamma_BK >= 1)
    room_B = (tokens_BK * others_BK).sum(dim=1)
    more_B = torch.where(room_B > 0, taken_B / room_B.clamp(min=1), 0.0)
    given_BK = (gamma_BK + more_B[:, None]).clamp(max=settings.gamma_ceiling)
    return torch.where(others_BK & (more_B > 0)[:, None], given_BK, gamma_BK)
