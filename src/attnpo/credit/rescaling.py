"""Stepwise rescaling of the advantage: gamma of each step, advantage of each token (AttnPO, Eq. 5-8)."""

from __future__ import annotations

import torch
from torch import Tensor

from attnpo.credit.batches import StepBatch
from attnpo.credit.settings import BarSettings, CreditSettings


@torch.no_grad()
def step_baseline(steps: StepBatch, settings: BarSettings) -> Tensor:
    """Return the score at which a step counts as neither redundant nor essential (AttnPO, Eq. 6).

    S_base,i = p_i ** alpha_base * |F_i| / |o_i|: what each token would score if the final answer spread its
    attention evenly, lowered on hard prompts. With `difficulty_baseline` off the exponent is 0
    (and 0 ** 0 is 1).

    Args:
        steps: the responses.
        settings: `alpha_base`, `difficulty_baseline` and `baseline_denominator` are read.

    Returns:
        (B,) float32 in [0, 1]; 0 without a final answer, and at p = 0.
    """
    lengths_B = steps.response_lengths_B
    if settings.baseline_denominator == "prompt+response":
        lengths_B = lengths_B + steps.prompt_lengths_B
    exponent = settings.alpha_base if settings.difficulty_baseline else 0.0
    return steps.pass_rate_B.float() ** exponent * steps.answer_lengths_B / lengths_B.clamp(min=1)


@torch.no_grad()
def step_support(scores_BK: Tensor, steps: StepBatch, settings: BarSettings) -> Tensor:
    """Return how far the answer rests on each step: min(1, S / S_base), in right and wrong responses alike.

    1 where there is no step or no final answer, where the score is not a number, and at S_base = 0.

    Args:
        scores_BK: (B, K) scores, at least 0.
        steps: everything else about the responses; `steps.scores_BK` and `advantages_B` are not read.
        settings: Eq. 6 and `gamma_floor`, below which no support falls.

    Returns:
        (B, K) float32 in [0, 1].
    """
    scores_BK = scores_BK.float()
    baseline_B1 = step_baseline(steps, settings)[:, None]
    below_BK = steps.owned_BK & (scores_BK < baseline_B1)
    return torch.where(below_BK, scores_BK / baseline_B1, 1.0).clamp(min=settings.gamma_floor, max=1.0)


@torch.no_grad()
def scheduled(pass_rate_B: Tensor, progress_step: int, schedule_steps: int) -> Tensor:
    """Return whether positive attenuation has begun: t > T * (1 - p) (AttnPO, Eq. 8).

    Strict, so a prompt that is always solved (p = 1) starts at t = 1, and one that never is (p = 0) after T.

    Args:
        pass_rate_B: (B,) pass rates p.
        progress_step: optimizer step t, counted from 0.
        schedule_steps: T, in optimizer steps.

    Returns:
        (B,) bool.
    """
    # The margin keeps t = T * (1 - p) on its side where p, such as 2/3, has no exact float.
    return schedule_steps * (1 - pass_rate_B.float()) + 1e-6 * schedule_steps < progress_step


@torch.no_grad()
def step_gamma(scores_BK: Tensor, steps: StepBatch, settings: CreditSettings) -> Tensor:
    """Return the factor gamma on the advantage of each step (AttnPO, Eq. 5-8).

    - PA, positive-advantage attenuation: A > 0 and S < S_base, once scheduled (Eq. 8):
      gamma = (1 - delta) * S / S_base + delta with delta = 1 - p ** lambda (Eq. 7), or `gamma_floor` without
      magnitude modulation.
    - NA, negative-advantage attenuation: A < 0 and S > S_base: gamma = 0.
    - Every other step, and every step outside `StepBatch.rescalable_BK`: gamma = 1. In particular nothing
      changes at A = 0, at S = S_base, where the score is not a number, in incorrect responses, in responses
      with one step, and in responses without a final answer, finished or not.
    - Both are raised to `gamma_floor`.
    - Zero attention on a step: S = 0 is below any positive baseline, gamma = delta under PA; at S_base = 0
      (p = 0) nothing is below, so PA does nothing and NA spares every step with a positive score.

    Args:
        scores_BK: (B, K) scores to use: the heads' own, or what stands in for them; at least 0.
        steps: everything else about the responses; `steps.scores_BK` is not read.
        settings: which parts are on.

    Returns:
        (B, K) float32 in [0, 1], never NaN, 1 where there is no step.
    """
    scores_BK = scores_BK.float()
    baseline_B1 = step_baseline(steps, settings)[:, None]
    pass_rate_B1 = steps.pass_rate_B.float()[:, None]
    advantages_B1 = steps.advantages_B[:, None]
    rescalable_BK = steps.rescalable_BK
    gamma_BK = torch.ones_like(scores_BK)
    if settings.positive_attenuation:
        attenuated_BK = rescalable_BK & (advantages_B1 > 0) & (scores_BK < baseline_B1)
        if settings.schedule:
            begun_B = scheduled(steps.pass_rate_B, steps.progress_step, settings.schedule_steps)
            attenuated_BK &= begun_B[:, None]
        if settings.magnitude_modulation:
            delta_B1 = 1 - pass_rate_B1**settings.lam
            graded_BK = (1 - delta_B1) * scores_BK / baseline_B1 + delta_B1  # read only where S < S_base
            gamma_BK = torch.where(attenuated_BK, graded_BK, gamma_BK)
        else:
            gamma_BK = gamma_BK.masked_fill(attenuated_BK, 0.0)
    if settings.negative_attenuation:
        protected_BK = rescalable_BK & (advantages_B1 < 0) & (scores_BK > baseline_B1)
        gamma_BK = gamma_BK.masked_fill(protected_BK, 0.0)
    return gamma_BK.clamp(min=settings.gamma_floor, max=1.0)


@torch.no_grad()
def token_advantages(advantages_B: Tensor, gamma_BK: Tensor, step_index_BT: Tensor) -> Tensor:
    """Give each token its step's share of the advantage: gamma of the token's step times A_i (AttnPO, Eq. 5).

    Args:
        advantages_B: (B,) outcome advantages A_i.
        gamma_BK: (B, K) factors; K may be 0.
        step_index_BT: (B, T) integer, step of each response token, -1 outside the steps (tags, final answer,
            end and padding tokens), where the factor is 1.

    Returns:
        (B, T) float32; padding tokens carry A_i and are for the caller's mask to drop.
    """
    outside_B1 = gamma_BK.new_ones(len(gamma_BK), 1)
    factors_BT = torch.cat([outside_B1, gamma_BK], dim=1).gather(1, step_index_BT.long() + 1)
    return advantages_B.float()[:, None] * factors_BT.float()
