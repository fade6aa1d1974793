"""Effects against the truth: ROC AUC by its definition, over pairs of steps; agreement of labels."""

from __future__ import annotations

import numpy as np
import pytest

from attnpo.labeling.truth import decided, effects_auc, weighted_auc
from attnpo.rollouts import Rollout, Step

LABELS = {"e": "essential", "r": "redundant", "u": "undecided"}


def rollout(problem: str, labels: str) -> Rollout:
    """A response with one token a step; a capital's step owns none."""
    steps, at = [], 0
    for letter in labels:
        end = at + letter.islower()
        steps.append(Step((at, end), (at, end), "plain", label=LABELS[letter.lower()]))
        at = end
    return Rollout(problem, "?", "1", 0, tuple(range(at + 1)), "x" * at, True, True, steps=tuple(steps))


def test_only_steps_that_the_truth_decides_and_that_own_a_token_count():
    values, truth, problems = decided([rollout("p", "euRr"), rollout("q", "e")], [[1, 2, 3, 4], [5]])
    assert (values, truth.tolist(), problems) == ([1, 4, 5], [1, 0, 1], ["p", "p", "q"])


def test_auc_is_the_share_of_pairs_in_the_right_order_ties_a_half():
    rng = np.random.default_rng(0)
    values, truth, weights = rng.integers(0, 4, 12).astype(float), np.arange(12) % 2.0, rng.integers(0, 3, (5, 12))
    for row in weights:
        won = total = 0.0
        for i in np.flatnonzero(truth == 1):
            for j in np.flatnonzero(truth == 0):
                pair = row[i] * row[j]
                total += pair
                won += pair * ((values[i] > values[j]) + 0.5 * (values[i] == values[j]))
        assert weighted_auc(values, truth)(row[None].astype(float))[0] == pytest.approx(won / total)


def test_auc_of_responses_with_an_interval_over_problems():
    rollouts = [rollout(f"p{i}", "er") for i in range(30)]
    right = effects_auc(rollouts, [[1.0, 0.0]] * 30)
    assert right is not None
    assert (right.value, right.low, right.high) == (1, 1, 1)
    mixed = effects_auc(rollouts, [[1.0, 0.0]] * 20 + [[0.0, 1.0]] * 10)
    assert mixed is not None
    assert mixed.low < mixed.value < mixed.high
    assert effects_auc([rollout("p", "ee")], [[1.0, 0.0]]) is None
