"""Labels that responses carry already."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from attnpo.labeling.base import StepLabels, no_labels
from attnpo.rollouts import Rollout


class GivenLabeler:
    """Takes the labels that stand in the responses themselves; a response with an unlabelled step gets none."""

    def __init__(self, name: str = "given"):
        """Name the labels as results should name them."""
        self.name = name
        self.settings: Mapping[str, Any] = {}

    def is_final(self, labels: StepLabels) -> bool:
        """Return False: the responses' file is what counts, however it was labelled when it was read before."""
        return False

    def label(self, rollouts: Sequence[Rollout]) -> Iterator[tuple[int, StepLabels]]:
        """Yield `(index, labels)` in order."""
        for index, rollout in enumerate(rollouts):
            labels = tuple(step.label for step in rollout.steps if step.label is not None)
            whole = len(labels) == len(rollout.steps)
            yield index, StepLabels(labels) if whole else no_labels("the response carries no labels for its steps")

    def report(self) -> dict[str, Any]:
        """Return nothing: they cost nothing."""
        return {}
