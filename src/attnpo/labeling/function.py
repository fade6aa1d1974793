"""Labels from a function that anyone can write.

A labeler function is `(question, response, steps) -> labels`: question and response as text, steps as character spans
of the response, one label a step.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Protocol

from attnpo.labeling.base import StepLabels, with_labels
from attnpo.loading import load_function
from attnpo.rollouts import Rollout, Span, StepLabel, prompt_text


class Labeler(Protocol):
    """Says of every step of a response whether the answer needed it."""

    def __call__(self, question: str, response: str, steps: Sequence[Span]) -> Sequence[StepLabel]:
        """Return one label a step; `steps` are character spans of `response`."""
        ...


def load_labeler(spec: str) -> Labeler:
    """Return the labeler that a `module:function` spec names.

    Raises:
        ConfigError: there is no such function, or it takes other arguments.
    """
    return load_function(spec, "labeler", ("question", "response", "steps"))


def label_steps(labeler: Labeler, rollout: Rollout) -> Rollout:
    """Return a copy of a segmented rollout whose steps carry labels.

    Raises:
        DataError: the labeler did not return one of the labels for every step.
    """
    spans = [step.chars for step in rollout.steps]
    return with_labels(rollout, labeler(prompt_text(rollout.prompt), rollout.response, spans))


class FunctionLabeler:
    """Labels responses one after the other with a function: an oracle, or a rule of the user's own."""

    def __init__(self, function: Labeler, name: str, source: str | None = None):
        """Wrap `function`; results name it `name` and are bound to `source` (`loading.source_fingerprint`)."""
        self.function = function
        self.name = name
        self.settings: Mapping[str, Any] = {"labeler": name, **({} if source is None else {"labeler_source": source})}

    def label(self, rollouts: Sequence[Rollout]) -> Iterator[tuple[int, StepLabels]]:
        """Yield `(index, labels)` in order.

        Raises:
            DataError: the function did not return one of the labels for every step.
        """
        for index, rollout in enumerate(rollouts):
            steps = label_steps(self.function, rollout).steps
            yield index, StepLabels(tuple(step.label for step in steps if step.label is not None))

    def report(self) -> dict[str, Any]:
        """Return nothing: a function has no cost worth telling."""
        return {}
