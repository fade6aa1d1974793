"""Whole groups of responses, in batches that are alike."""

from __future__ import annotations

import hashlib
import logging
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from attnpo.errors import DataError
from attnpo.gradients.store import LEAST_BATCHES
from attnpo.rollouts import Rollout

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Groups:
    """Whole groups of one size, as many as fill batches.

    Attributes:
        rollouts: the responses, group after group.
        size: G.
        batches: how many batches they are.
    """

    rollouts: list[Rollout]
    size: int
    batches: int

    @property
    def labelled(self) -> bool:
        """Whether steps carry labels."""
        return any(step.label for rollout in self.rollouts for step in rollout.steps)

    def batch(self, number: int) -> list[Rollout]:
        """Return the responses of a batch."""
        each = len(self.rollouts) // self.batches
        return self.rollouts[number * each : (number + 1) * each]


def count_batches(groups: int, size: int, problems: int) -> int:
    """Return how many batches of so many problems these groups of `size` responses make.

    Raises:
        DataError: they are not enough for six batches, or groups have one response.
    """
    batches = groups // problems
    if size < 2:
        raise DataError("gradients: problems have one response each, and credit is relative to a group; sample several")
    if batches < LEAST_BATCHES:
        raise DataError(
            f"gradients: {groups} problems of {size} responses make {batches} batches of {problems}, and errors "
            f"take at least {LEAST_BATCHES}; give more problems, or fewer a batch with --problems_per_batch"
        )
    return batches


def whole_groups(rollouts: Sequence[Rollout], problems: int) -> Groups:
    """Return the groups of the largest number of responses that most problems have, `problems` of them a batch.

    Groups are taken in an order that has to do with nothing, neither with a file's nor with ids that tell difficulty,
    so that batches are alike. What is left out is said.

    Raises:
        DataError: they are not enough for six batches, or groups have one response.
    """
    groups: dict[str, list[Rollout]] = {}
    for rollout in rollouts:
        groups.setdefault(rollout.problem_id, []).append(rollout)
    sizes = Counter(map(len, groups.values()))
    size = max(sizes, key=lambda n: (sizes[n], n))
    shuffled = sorted(groups.items(), key=lambda item: hashlib.sha256(item[0].encode()).digest())
    whole = [group for _, group in shuffled if len(group) == size]
    batches = count_batches(len(whole), size, problems)
    kept = whole[: batches * problems]
    if all(len({bool(rollout.correct) for rollout in group}) == 1 for group in kept):
        logger.warning("no problem has both right and wrong responses: nothing says what changes accuracy")
    if len(kept) < len(groups):
        logger.warning(
            "%d of %d problems left out: groups of other sizes than %d, and what fills no batch",
            len(groups) - len(kept),
            len(groups),
            size,
        )
    return Groups([rollout for group in kept for rollout in group], size, batches)
