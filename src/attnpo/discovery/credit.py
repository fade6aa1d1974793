"""Credit accuracy of step scores: would Eq. 6-8 touch the right tokens? Needs no training run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from attnpo.credit import CREDIT_CELLS, CreditSettings, build_method, credit_accuracy, pack_steps
from attnpo.rollouts import Rollout
from attnpo.signals import Signal
from attnpo.statistics import Interval, ratio_intervals


def credit_accuracy_intervals(
    rollouts: Sequence[Rollout],
    scores: Sequence[NDArray[np.floating]],
    settings: CreditSettings | None = None,
    *,
    signal: Signal | None = None,
    level: float = 0.95,
    resamples: int = 2000,
    seed: int = 0,
) -> dict[str, Interval]:
    """Shares of essential and redundant tokens that PA would attenuate and NA protect, with intervals over problems.

    Args:
        rollouts: labelled, correct responses with pass rates.
        scores: per response (K,) step scores.
        settings: settings of Eq. 6-8; None takes the published ones. The schedule (Eq. 8) is counted as over.
        signal: the signal whose scores they are; None for ensemble scores of heads (Eq. 2).
        level: coverage of the intervals.
        resamples: bootstrap resamples.
        seed: seed of the resamples.

    Returns:
        One interval for each of "PA essential", "PA redundant", "NA essential", "NA redundant".
    """
    method = build_method("attnpo", CreditSettings() if settings is None else settings)
    steps = pack_steps(rollouts, scores)
    if signal is not None:
        steps = replace(steps, scores_BK=signal.for_credit(steps.scores_BK, steps))
    counted = credit_accuracy(method, steps)
    intervals = ratio_intervals(
        np.stack([counted.touched[cell].double().numpy() for cell in CREDIT_CELLS], axis=1),
        np.stack([counted.total[cell].double().numpy() for cell in CREDIT_CELLS], axis=1),
        [rollout.problem_id for rollout in rollouts],
        level,
        resamples,
        seed,
    )
    return {cell: interval for cell, interval in zip(CREDIT_CELLS, intervals, strict=True) if interval is not None}
