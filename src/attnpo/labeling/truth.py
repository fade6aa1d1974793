"""How well effects of steps tell the essential from the redundant, where the truth is known: ROC AUC, agreement."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np

from attnpo.rollouts import Rollout
from attnpo.statistics import Floats, Interval, bootstrap_interval


def decided(rollouts: Iterable[Rollout], values: Iterable[Iterable[Any]]) -> tuple[list[Any], Floats, list[str]]:
    """Return what is known of the steps that the truth decides and that own a token.

    Args:
        rollouts: responses whose steps carry the true labels.
        values: a value a step of each.

    Returns:
        Values, truth (1 essential, 0 redundant) and problem of each such step.
    """
    chosen = [
        (value, float(step.label == "essential"), rollout.problem_id)
        for rollout, row in zip(rollouts, values, strict=True)
        for value, step in zip(row, rollout.steps, strict=True)
        if step.label in ("essential", "redundant") and step.tokens[1] > step.tokens[0]
    ]
    return [c[0] for c in chosen], np.array([c[1] for c in chosen]), [c[2] for c in chosen]


def weighted_auc(values: Floats, truth: Floats) -> Callable[[Floats], Floats]:
    """Return a function from (R, N) multiplicities of steps to (R,) ROC AUC, ties counted half."""
    levels, place = np.unique(values, return_inverse=True)

    def statistic(weights_RN: Floats) -> Floats:
        out = np.empty(len(weights_RN))
        for r, weights in enumerate(weights_RN):
            essential = np.bincount(place, weights * truth, len(levels))
            redundant = np.bincount(place, weights * (1 - truth), len(levels))
            below = np.cumsum(redundant) - redundant
            total = essential.sum() * redundant.sum()
            out[r] = (essential * (below + redundant / 2)).sum() / total if total else np.nan
        return out

    return statistic


def over_problems(problems: Sequence[str], statistic: Callable[[Floats], Floats]) -> Interval:
    """Return the interval of a statistic of steps over problems."""
    place = {name: index for index, name in enumerate(dict.fromkeys(problems))}
    index_N = np.array([place[name] for name in problems])
    return bootstrap_interval(lambda weights_RC: statistic(weights_RC[:, index_N]), len(place), n_resamples=500)


def effects_auc(rollouts: Iterable[Rollout], effects: Iterable[Iterable[float]]) -> Interval | None:
    """Return the ROC AUC of effects, essential steps against redundant ones; None where one of both is missing.

    Args:
        rollouts: responses whose steps carry the true labels.
        effects: an effect a step of each.
    """
    values, truth, problems = decided(rollouts, effects)
    if not 0 < truth.sum() < len(truth):
        return None
    return over_problems(problems, weighted_auc(np.array(values, dtype=np.float64), truth))
