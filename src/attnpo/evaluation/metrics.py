"""Numbers of one response, and their summary with intervals over problems."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from attnpo.evaluation.result import Summary
from attnpo.rollouts import Rollout, StepFamily, StepLabel
from attnpo.statistics import Floats, ratio_intervals

CountPhrases = Callable[[str], Mapping[StepFamily, int]]
"""Counts trigger phrases of each family in a text."""

PLAIN_METRICS = (
    "accuracy",
    "response_tokens",
    "think_tokens",
    "answer_tokens",
    "steps",
    "truncated",
    "confused_phrases",
    "progression_phrases",
    "summary_phrases",
)
PHRASE_METRIC_FAMILIES: tuple[StepFamily, ...] = ("confused", "progression", "summary")
LABEL_METRICS = ("essential_steps", "redundant_steps", "undecided_steps", "redundant_token_share")
METRICS = PLAIN_METRICS + LABEL_METRICS


@dataclass(frozen=True)
class MeasuredResponse:
    """The numbers of one response.

    Attributes:
        problem_id: its problem, the cluster of the intervals.
        difficulty: difficulty of the problem.
        labelled: whether its steps carry labels (true of a response without steps).
        numerators: one number a metric, in the order of `METRICS`.
        denominators: what the numerators are pooled over: 1, or the think tokens of `redundant_token_share`.
    """

    problem_id: str
    difficulty: str | None
    labelled: bool
    numerators: Floats
    denominators: Floats


def measure(rollout: Rollout, count_phrases: CountPhrases) -> MeasuredResponse:
    """Return the numbers of one verified, segmented response."""
    tokens = [step.tokens[1] - step.tokens[0] for step in rollout.steps]
    labels = [step.label for step in rollout.steps]
    phrases = count_phrases(rollout.response)
    think_tokens = sum(tokens)
    redundant_tokens = sum(n for n, label in zip(tokens, labels, strict=True) if label == "redundant")
    counted: tuple[StepLabel, ...] = ("essential", "redundant", "undecided")
    numerators = [
        float(bool(rollout.correct)),
        rollout.n_tokens,
        think_tokens,
        rollout.answer_tokens[1] - rollout.answer_tokens[0],
        len(rollout.steps),
        float(not rollout.finished),
        *(phrases.get(family, 0) for family in PHRASE_METRIC_FAMILIES),
        *(labels.count(label) for label in counted),
        redundant_tokens,
    ]
    denominators = np.ones(len(METRICS))
    denominators[METRICS.index("redundant_token_share")] = think_tokens
    return MeasuredResponse(
        problem_id=rollout.problem_id,
        difficulty=rollout.difficulty,
        labelled=None not in labels,
        numerators=np.array(numerators, dtype=np.float64),
        denominators=denominators,
    )


def summarize(
    measured: Sequence[MeasuredResponse], level: float = 0.95, resamples: int = 2000, seed: int = 0
) -> Summary:
    """Return means over at least one response, with intervals over problems.

    The order of the responses does not matter.
    """
    measured = sorted(measured, key=lambda m: m.problem_id)
    intervals = ratio_intervals(
        np.stack([m.numerators for m in measured]),
        np.stack([m.denominators for m in measured]),
        [m.problem_id for m in measured],
        level,
        resamples,
        seed,
    )
    known = METRICS if all(m.labelled for m in measured) else PLAIN_METRICS
    by_name = dict(zip(METRICS, intervals, strict=True))
    return Summary.model_validate({"num_responses": len(measured), **{name: by_name[name] for name in known}})


def summarize_by_difficulty(
    measured: Iterable[MeasuredResponse], level: float = 0.95, resamples: int = 2000, seed: int = 0
) -> dict[str, Summary]:
    """Return one summary a difficulty, numbers in numerical order before words."""
    groups: dict[str, list[MeasuredResponse]] = {}
    for m in measured:
        if m.difficulty is not None:
            groups.setdefault(m.difficulty, []).append(m)
    return {d: summarize(groups[d], level, resamples, seed) for d in sorted(groups, key=difficulty_order)}


def difficulty_order(difficulty: str) -> tuple[int, float, str]:
    """Sort key: numbers by value, then words."""
    try:
        return 0, float(difficulty), difficulty
    except ValueError:
        return 1, 0.0, difficulty
