"""Groups that teach nothing are sampled again from other problems, before their batch is trained on."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Any, Final

from attnpo.training.rounds import Round, problem_key

Row = dict[str, Any]
MOST_TRIES: Final = 64
"""Rows that are looked at for one that is not in the batch; data sets may be small."""
OtherRow = Callable[[int, int, Collection[str]], Row | None]
"""(number of the group, attempt, names of problems that are taken) -> the row that takes the group's place, if any."""


@dataclass
class DrawnAgain:
    """What resampling took.

    Attributes:
        groups: how many groups were drawn again, a group once for each time.
        tokens: those of responses that were drawn and left the batch.
    """

    groups: int = 0
    tokens: int = 0


def settle(round_: Round, draw: Callable[[Round, int], None], other_row: OtherRow, attempts: int) -> DrawnAgain:
    """Draw a round; draw groups without advantage again, each time from another problem, as often as allowed.

    As DAPO and DLER do it: problems that are always or never solved leave the batch, and what is learnt from the others
    keeps its proportions. A group that never carries an advantage stays as it was drawn first.

    Args:
        round_: the round, whole groups.
        draw: samples a round's responses; told which attempt it is, from 0.
        other_row: chooses another problem; no problem is tried twice in a round.
        attempts: at most so many times.
    """
    size, again = round_.parts.group_size, DrawnAgain()
    draw(round_, 0)
    weak = round_.groups_without_advantage()
    taken = set(round_.keys)
    for attempt in range(1, attempts + 1):
        rows: dict[int, Row] = {}
        for group in weak:
            row = other_row(round_.group_ids[group * size], attempt, taken)
            if row is not None:
                rows[group] = row
                taken.add(problem_key(row))
        if not rows:
            break
        again.groups += len(rows)
        row_ids = [row_id for group in rows for row_id in round_.row_ids[group * size : (group + 1) * size]]
        each = [row for row in rows.values() for _ in range(size)]
        other = Round(round_.parts, each, row_ids, round_.progress_step)
        draw(other, attempt)
        still = set(other.groups_without_advantage())
        for place, group in enumerate(rows):
            if place in still:
                again.tokens += other.tokens(place)
            else:
                again.tokens += round_.tokens(group)
                round_.take_over(group, other, place)
        weak = [group for place, group in enumerate(rows) if place in still]
    return again
