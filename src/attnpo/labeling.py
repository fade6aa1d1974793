"""Step labels: which steps the answer needed, by a labeler that anyone can write.

A labeler is a function `(question, response, steps) -> labels`: question and response as text, steps as character spans
of the response, one label a step.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Protocol, get_args

from attnpo.errors import DataError
from attnpo.loading import load_function
from attnpo.rollouts import Rollout, Span, StepLabel, prompt_text

LABELS: tuple[StepLabel, ...] = get_args(StepLabel)


class Labeler(Protocol):
    """Says of every step of a response whether the answer needed it."""

    def __call__(self, question: str, response: str, steps: Sequence[Span]) -> Sequence[StepLabel]:
        """Return one label a step; `steps` are character spans of `response`."""
        ...


def load_labeler(spec: str) -> Labeler:
    """Return the labeler that a `module:function` spec names.

    Raises:
        ConfigError: there is no such function.
    """
    return load_function(spec, "labeler")


def label_steps(labeler: Labeler, rollout: Rollout) -> Rollout:
    """Return a copy of a segmented rollout whose steps carry labels.

    Raises:
        DataError: the labeler did not return one of the labels for every step.
    """
    spans = [step.chars for step in rollout.steps]
    labels = list(labeler(prompt_text(rollout.prompt), rollout.response, spans))
    where = f"labeler, problem {rollout.problem_id!r}, sample {rollout.sample}"
    if len(labels) != len(spans):
        raise DataError(f"{where}: {len(labels)} labels for {len(spans)} steps; return one label a step")
    for number, label in enumerate(labels):
        if label not in LABELS:
            raise DataError(f"{where}, step {number}: label {label!r} is not one of {', '.join(LABELS)}")
    steps = tuple(replace(step, label=label) for step, label in zip(rollout.steps, labels, strict=True))
    return replace(rollout, steps=steps)
