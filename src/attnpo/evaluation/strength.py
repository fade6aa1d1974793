"""One method at several strengths as a curve: its accuracy at a length, its length at an accuracy.

A method that shortens responses has a dial; where it stands says how short, so methods are compared at equal length or
at equal accuracy, never at equal dial. Nothing is said beyond the strengths that were run.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from attnpo.statistics import Floats


@dataclass(frozen=True)
class StrengthCurve:
    """Accuracy and length at K strengths, on the data (row 0) and on resamples.

    Attributes:
        strengths: names of the strengths, weakest first.
        tokens_DK: (D, K) tokens a response.
        accuracy_DK: (D, K) shares answered right.
    """

    strengths: tuple[str, ...]
    tokens_DK: Floats
    accuracy_DK: Floats

    def take(self, places: Sequence[int]) -> StrengthCurve:
        """Return the curve of some of the strengths."""
        names = tuple(self.strengths[k] for k in places)
        return StrengthCurve(names, self.tokens_DK[:, places], self.accuracy_DK[:, places])

    def accuracy_at(self, tokens: float) -> Floats:
        """Return (D,) accuracy at a length, NaN where the curve does not reach it."""
        return np.array([accuracy_at(*knots, tokens) for knots in self._knots])

    def accuracies_along(self, tokens_D: Floats) -> Floats:
        """Return (D,) accuracy at a length of each resample's own; beyond the curve's ends that of the end."""
        return np.array([np.interp(tokens, *knots) for tokens, knots in zip(tokens_D, self._knots, strict=True)])

    def reaches(self, tokens: float) -> bool:
        """Whether a length lies within the curve's ends on the data."""
        lengths = self._knots[0][0]
        return bool(lengths[0] <= tokens <= lengths[-1])

    def value_at(self, values_DK: Floats, tokens: float) -> Floats:
        """Return (D,) what else the strengths have, (D, K), at a length; NaN where the curve does not reach it."""
        knots = (curve_knots(t, v) for t, v in zip(self.tokens_DK, values_DK, strict=True))
        return np.array([accuracy_at(*own, tokens) for own in knots])

    def tokens_at(self, accuracy: float) -> Floats:
        """Return (D,) length at an accuracy, NaN where it is not known; see `tokens_at`."""
        return np.array([tokens_at(*knots, accuracy) for knots in self._knots])

    def most_tokens_at(self, accuracy: float) -> float | None:
        """Return the length of the shortest point, on the data, if that still has an accuracy; None if it has not.

        The least length with that accuracy is then no more.
        """
        tokens_K, accuracy_K = self._knots[0]
        return float(tokens_K[0]) if accuracy_K[0] >= accuracy else None

    def blocks(self) -> list[list[int]]:
        """Return which strengths stand for one point on the data, shortest first."""
        return [list(block) for block in reversed(falling_blocks(self.tokens_DK[0]))]

    @cached_property
    def _knots(self) -> list[tuple[Floats, Floats]]:
        return [curve_knots(t, a) for t, a in zip(self.tokens_DK, self.accuracy_DK, strict=True)]


def falling_blocks(tokens_K: Floats) -> list[range]:
    """Return which neighbouring strengths are pooled so that the blocks' mean lengths fall from each to the next.

    More strength is taken to shorten; where noise says otherwise, neighbours are pooled until it does not (isotonic
    regression by pooling adjacent violators).

    Args:
        tokens_K: tokens at K strengths, weakest first.
    """
    blocks: list[range] = []
    for k in range(len(tokens_K)):
        blocks.append(range(k, k + 1))
        while len(blocks) > 1 and _mean(tokens_K, blocks[-2]) <= _mean(tokens_K, blocks[-1]):
            last = blocks.pop()
            blocks[-1] = range(blocks[-1].start, last.stop)
    return blocks


def curve_knots(tokens_K: Floats, accuracy_K: Floats) -> tuple[Floats, Floats]:
    """Return the points that a curve goes through: length, rising strictly, and accuracy.

    Args:
        tokens_K: tokens at K strengths, weakest first.
        accuracy_K: accuracy at each.
    """
    blocks = falling_blocks(tokens_K)[::-1]
    return np.array([_mean(tokens_K, b) for b in blocks]), np.array([_mean(accuracy_K, b) for b in blocks])


def accuracy_at(lengths: Floats, accuracies: Floats, tokens: float) -> float:
    """Return the accuracy of a curve of straight pieces at a length, NaN beyond its ends."""
    return float(np.interp(tokens, lengths, accuracies, left=np.nan, right=np.nan))


def tokens_at(lengths: Floats, accuracies: Floats, accuracy: float) -> float:
    """Return the least length at which a curve of straight pieces has an accuracy.

    NaN where it never has it, and where its shortest point still has it: how short it could be is then not known.

    Args:
        lengths: rising lengths of its points.
        accuracies: their accuracies.
        accuracy: which one.
    """
    reached = np.flatnonzero(accuracies >= accuracy)
    if not len(reached) or reached[0] == 0:
        return float("nan")
    before, after = reached[0] - 1, reached[0]
    share = (accuracy - accuracies[before]) / (accuracies[after] - accuracies[before])
    return float(lengths[before] + share * (lengths[after] - lengths[before]))


def first_time(times: Floats, tokens: Floats, accuracies: Floats, most_tokens: float, least_accuracy: float) -> float:
    """Return when a training run first was as short and as accurate as asked, NaN where it never was.

    Between measurements both go straight, so each piece holds a span of times at which either condition is met.

    Args:
        times: rising times of T measurements, such as tokens sampled so far.
        tokens: (T,) tokens a response.
        accuracies: (T,) shares answered right.
        most_tokens: how short.
        least_accuracy: how accurate.
    """
    for t in range(len(times) - 1):
        short = _span(most_tokens - tokens[t], most_tokens - tokens[t + 1])
        right = _span(accuracies[t] - least_accuracy, accuracies[t + 1] - least_accuracy)
        start, end = max(short[0], right[0]), min(short[1], right[1])
        if start <= end:
            return float(times[t] + start * (times[t + 1] - times[t]))
    return float("nan")


def _span(first: float, last: float) -> tuple[float, float]:
    """Return from where to where, as shares of a piece, a straight line from `first` to `last` is at least 0."""
    if first >= 0 and last >= 0:
        return 0.0, 1.0
    if first < 0 and last < 0:
        return 1.0, 0.0
    crossing = first / (first - last)
    return (0.0, crossing) if first >= 0 else (crossing, 1.0)


def _mean(values_K: Floats, block: Sequence[int]) -> float:
    return float(values_K[block[0] : block[-1] + 1].mean())
