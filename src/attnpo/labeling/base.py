"""What every labeler is: something that says of each step of a response whether the answer needed it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Protocol, cast, get_args, runtime_checkable

from attnpo.errors import DataError
from attnpo.rollouts import Rollout, StepLabel, prompt_text

LABELS: tuple[StepLabel, ...] = get_args(StepLabel)

UNLABELLED = "unlabelled"
"""Key of the evidence that says why a response has no labels."""


@dataclass(frozen=True)
class StepLabels:
    """The labels of one response.

    Attributes:
        labels: one label a step, or none at all where the labeler has none for this response (`no_labels`).
        evidence: what the labels rest on (votes, effects, …), as JSON values.
    """

    labels: tuple[StepLabel, ...]
    evidence: Mapping[str, Any] = field(default_factory=dict)

    @property
    def reason(self) -> str | None:
        """Why there are no labels; None where there are."""
        return None if self.labels else str(self.evidence.get(UNLABELLED, "no reason given"))


def no_labels(reason: str, evidence: Mapping[str, Any] | None = None) -> StepLabels:
    """Return what a labeler gives for a response it cannot label.

    Args:
        reason: why, in a few words that are the same for all responses of the same fate: they are counted.
        evidence: whatever else is known.
    """
    return StepLabels((), {UNLABELLED: reason, **(evidence or {})})


class StepLabeler(Protocol):
    """Labels the steps of many responses.

    Attributes:
        name: how results should name it.
        settings: everything its labels depend on, as JSON values; labels on disk made under others are refused.
    """

    name: str
    settings: Mapping[str, Any]

    def label(self, rollouts: Sequence[Rollout]) -> Iterator[tuple[int, StepLabels]]:
        """Yield `(index in rollouts, labels)` of every response as soon as it is labelled, in any order."""
        ...

    def report(self) -> dict[str, Any]:
        """Return what there is to say of the labels (cost, agreement, …) as JSON values; empty where nothing."""
        ...


@runtime_checkable
class RecallsLabels(Protocol):
    """A labeler whose report covers labels that an earlier, interrupted run made as well."""

    def recall(self, rollout: Rollout, labels: StepLabels) -> None:
        """Take the labels that an earlier run gave one response into the report."""
        ...


@runtime_checkable
class MayAnswerLater(Protocol):
    """A labeler that may have other labels for a response the next time it is asked."""

    def is_final(self, labels: StepLabels) -> bool:
        """Return whether asking again would change nothing: no outage kept labels away, nobody corrected them."""
        ...


def with_labels(rollout: Rollout, labels: Sequence[str], where: str = "labeler") -> Rollout:
    """Return a copy of a segmented rollout whose steps carry labels.

    Args:
        rollout: the rollout.
        labels: one a step.
        where: who labelled, for the error message.

    Raises:
        DataError: there is not one label a step, or one is unknown.
    """
    labels = list(labels)
    where = f"{where}, problem {rollout.problem_id!r}, sample {rollout.sample}"
    if len(labels) != len(rollout.steps):
        raise DataError(f"{where}: {len(labels)} labels for {len(rollout.steps)} steps; return one label a step")
    for number, label in enumerate(labels):
        if label not in LABELS:
            raise DataError(f"{where}, step {number}: label {label!r} is not one of {', '.join(LABELS)}")
    known = cast("list[StepLabel]", labels)
    steps = tuple(replace(step, label=label) for step, label in zip(rollout.steps, known, strict=True))
    return replace(rollout, steps=steps)


def response_sha256(response: str) -> str:
    """Return the SHA-256 of a response's text (UTF-8), as 64 hexadecimal digits."""
    return hashlib.sha256(response.encode("utf-8", "surrogatepass")).hexdigest()


def steps_fingerprint(rollout: Rollout) -> str:
    """Return a hash of all that a label may depend on in the response: prompt, text and where its steps lie."""
    parts = [prompt_text(rollout.prompt), rollout.response, [step.chars for step in rollout.steps]]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:16]
