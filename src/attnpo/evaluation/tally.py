"""Numbers of many responses, taken in one by one.

Memory does not grow with what the responses hold: sums are kept per problem, and of each response 25 bytes remain (its
problem, three lengths, two verdicts, a hash of its answer), which quantiles, budgets and votes are made from.
"""

from __future__ import annotations

import hashlib
from array import array
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from attnpo.collecting import counted_tokens, failure_of
from attnpo.errors import DataError
from attnpo.evaluation.counting import Counter, count_columns
from attnpo.evaluation.passk import PASS_K
from attnpo.evaluation.table import ProblemTable
from attnpo.evaluation.voting import majority_at_k
from attnpo.rollouts import Rollout, StepFamily, StepLabel
from attnpo.statistics import Floats

CountPhrases = Callable[[str], Mapping[StepFamily, int]]
"""Counts trigger phrases of each family in a text."""

LENGTHS = ("response_tokens", "think_tokens", "answer_tokens")
SUMS = (
    "responses",
    "correct",
    *LENGTHS,
    "steps",
    "truncated",
    "confused_phrases",
    "progression_phrases",
    "summary_phrases",
    "essential_steps",
    "redundant_steps",
    "undecided_steps",
    "redundant_tokens",
)
_FAMILIES: tuple[StepFamily, ...] = ("confused", "progression", "summary")
_LABELS: tuple[StepLabel, ...] = ("essential", "redundant", "undecided")
Ints = NDArray[np.int64]


@dataclass(frozen=True)
class TallyResult:
    """What a tally found.

    Attributes:
        table: the sums of the C problems.
        lengths_N3: response, think and answer tokens of each of the N responses.
        problem_N: the row of each response's problem in the table.
    """

    table: ProblemTable
    lengths_N3: Ints
    problem_N: Ints

    def select(self, rows: Sequence[int]) -> TallyResult:
        """Return the part that belongs to some of the problems."""
        place = np.full(len(self.table), -1, dtype=np.int64)
        place[list(rows)] = np.arange(len(rows))
        kept = place[self.problem_N] >= 0
        return TallyResult(self.table.select(rows), self.lengths_N3[kept], place[self.problem_N][kept])


class Tally:
    """Takes in verified, segmented responses in any order."""

    def __init__(self, count_phrases: CountPhrases, counter: Counter | None = None, labelling: bool = False) -> None:
        """Start with nothing.

        Args:
            count_phrases: counts the trigger phrases of a response's text.
            counter: counts whatever else is asked for, or None.
            labelling: whether steps are labelled, which responses without any do not show.
        """
        self.failures = 0
        """Responses so far that a server refused or that came to nothing."""
        self._count_phrases, self._counter = count_phrases, counter
        self._counted: dict[str, Floats] = {}
        self._place: dict[str, int] = {}
        self._difficulty: list[str | None] = []
        self._subject: list[str | None] = []
        self._sums = np.zeros((64, len(SUMS)))
        self._labelled, self._labelling = True, labelling
        self._problem, self._votes, self._correct = array("i"), array("Q"), array("b")
        self._lengths = tuple(array("i") for _ in LENGTHS)

    def __len__(self) -> int:
        return len(self._problem)

    def add(self, rollout: Rollout) -> None:
        """Take in one response.

        Raises:
            DataError: the counter's answer is malformed, or names other counts than for the responses before.
        """
        tokens = [step.tokens[1] - step.tokens[0] for step in rollout.steps]
        labels = [step.label for step in rollout.steps]
        failed = failure_of(rollout) is not None
        phrases = self._count_phrases(rollout.response)
        lengths = (counted_tokens(rollout), sum(tokens), rollout.answer_tokens[1] - rollout.answer_tokens[0])
        row = self._row(rollout)
        self._sums[row] += (
            1,
            bool(rollout.correct),
            *lengths,
            len(rollout.steps),
            not (rollout.finished or failed),
            *(phrases.get(family, 0) for family in _FAMILIES),
            *(labels.count(label) for label in _LABELS),
            sum(n for n, label in zip(tokens, labels, strict=True) if label == "redundant"),
        )
        if self._counter is not None:
            self._count(row, count_columns(self._counter, rollout), rollout)
        self.failures += failed
        self._labelled = self._labelled and None not in labels
        self._labelling = self._labelling or bool(labels)
        self._problem.append(row)
        self._correct.append(bool(rollout.correct))
        self._votes.append(_vote(rollout.answer))
        for column, length in zip(self._lengths, lengths, strict=True):
            column.append(length)

    def measured(self, budgets: Sequence[int]) -> TallyResult:
        """Return what was found so far; the order in which responses came does not matter.

        Args:
            budgets: token budgets to measure under.
        """
        names = sorted(self._place)
        order = np.array([self._place[name] for name in names], dtype=np.int64)
        rank = np.empty_like(order)
        rank[order] = np.arange(len(order))
        problem_N = rank[np.asarray(self._problem, dtype=np.int64)]
        lengths_N3 = np.stack([np.asarray(column, dtype=np.int64) for column in self._lengths], axis=1)
        correct_N = np.asarray(self._correct, dtype=bool)
        columns = {name: _numbers(self._sums[order, i]) for i, name in enumerate(SUMS)}
        columns |= {name: _numbers(counts[order]) for name, counts in self._counted.items()}
        for budget in budgets:
            within_N = lengths_N3[:, 0] <= budget
            spent_N = np.minimum(lengths_N3[:, 0], budget)
            columns[f"correct@{budget}"] = _numbers(np.bincount(problem_N, correct_N & within_N, len(names)))
            columns[f"tokens@{budget}"] = _numbers(np.bincount(problem_N, spent_N, len(names)))
        columns |= _majorities(problem_N, np.asarray(self._votes, dtype=np.uint64), correct_N, len(names))
        table = ProblemTable(
            problem_id=names,
            difficulty=[self._difficulty[i] for i in order],
            subject=[self._subject[i] for i in order],
            labelled=self._labelled and self._labelling,
            columns=columns,
        )
        return TallyResult(table, lengths_N3, problem_N)

    def _row(self, rollout: Rollout) -> int:
        row = self._place.setdefault(rollout.problem_id, len(self._place))
        if row == len(self._difficulty):
            self._difficulty.append(rollout.difficulty)
            self._subject.append(rollout.subject)
            if row == len(self._sums):
                self._sums = np.concatenate([self._sums, np.zeros_like(self._sums)])
                self._counted = {n: np.concatenate([c, np.zeros_like(c)]) for n, c in self._counted.items()}
        return row

    def _count(self, row: int, columns: Mapping[str, float], rollout: Rollout) -> None:
        if not self._counted and not self._problem:
            self._counted = {name: np.zeros(len(self._sums)) for name in columns}
        if columns.keys() != self._counted.keys():
            some = ", ".join(sorted(columns.keys() ^ self._counted.keys()))
            raise DataError(
                f"counter, problem {rollout.problem_id!r}, sample {rollout.sample}: {some} is counted for some "
                "responses only; return the same names for every response"
            )
        for name, count in columns.items():
            self._counted[name][row] += count


def _vote(answer: str | None) -> int:
    """Return a number that equal answers share; 0 for no answer."""
    if answer is None:
        return 0
    return max(
        1, int.from_bytes(hashlib.blake2b(answer.encode("utf-8", "surrogatepass"), digest_size=8).digest(), "big")
    )


def _majorities(
    problem_N: Ints, votes_N: NDArray[np.uint64], correct_N: NDArray[np.bool_], problems: int
) -> dict[str, list[int | float]]:
    """Return the columns `majority@k`, for the k of pass@k that every problem has responses for and for all of them."""
    responses_C = np.bincount(problem_N, minlength=problems)
    if not votes_N.any():
        return {}
    fewest = int(responses_C.min())
    ks = [k for k in PASS_K if k <= fewest]
    if (responses_C == fewest).all() and fewest not in ks:
        ks.append(fewest)
    order = np.lexsort((votes_N, problem_N))
    starts = np.searchsorted(problem_N[order], np.arange(problems + 1))
    values = np.zeros((problems, len(ks)))
    for row in range(problems):
        group = order[starts[row] : starts[row + 1]]
        voting = group[votes_N[group] != 0]
        _, answer_V, counts = np.unique(votes_N[voting], return_inverse=True, return_counts=True)
        worth = np.bincount(answer_V, correct_N[voting], len(counts)) / np.maximum(counts, 1)
        values[row] = majority_at_k(counts.tolist(), worth.tolist(), len(group) - len(voting), ks)
    return {f"majority@{k}": _numbers(values[:, i]) for i, k in enumerate(ks)}


def _numbers(values_C: Floats | Ints) -> list[int | float]:
    """Return a column as plain numbers, whole ones as int."""
    return [int(v) if v == int(v) else float(v) for v in values_C.tolist()]
