"""Problems in bins by the redundant share of their responses: how noise and what lessens it depend on that share."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import pairwise

import numpy as np

from attnpo.errors import ConfigError
from attnpo.gradients import measures
from attnpo.gradients.credits import ACCURACY, LENGTH, Credit
from attnpo.gradients.products import Moments, jackknife
from attnpo.gradients.result import Known, RedundancyBin
from attnpo.rollouts import Rollout
from attnpo.statistics import Floats


@dataclass(frozen=True)
class Binning:
    """Whole groups of responses, told apart by their redundant share.

    Attributes:
        rollouts: the responses, group after group.
        size: G, responses a group.
        bin_of_P: the bin of each problem, least redundant first.
        bins: how many bins.
    """

    rollouts: Sequence[Rollout]
    size: int
    bin_of_P: tuple[int, ...]
    bins: int

    @classmethod
    def of(cls, rollouts: Sequence[Rollout], size: int, bins: int) -> Binning:
        """Put as many problems into each bin.

        Raises:
            ConfigError: problems of one share would lie in two bins.
        """
        count = len(rollouts) // size
        shares = [redundant_share(rollouts[p * size : (p + 1) * size]) for p in range(count)]
        if (share := _split_share(shares, bins)) is not None:
            fewer = next((n for n in range(bins - 1, 1, -1) if _split_share(shares, n) is None), None)
            raise ConfigError(
                f"--redundancy_bins {bins}: {shares.count(share)} of {count} problems have the redundant share "
                f"{share:.3g}, and bins of as many problems each would part them"
                + (f"; give fewer bins: --redundancy_bins {fewer}" if fewer else ", as fewer bins would; leave it out")
            )
        ranks = {p: rank for rank, p in enumerate(sorted(range(count), key=lambda p: shares[p]))}
        return cls(rollouts, size, tuple(ranks[p] * bins // count for p in range(count)), bins)

    def of_responses(self, first: int, count: int) -> tuple[int, ...]:
        """Return the bins of so many responses from one on."""
        return tuple(self.bin_of_P[row // self.size] for row in range(first, first + count))

    def shares(self, number: int, batches: int) -> Floats:
        """Return (B,) the share of each batch's problems that are of a bin."""
        is_own_BP = np.array(self.bin_of_P).reshape(batches, -1) == number
        return np.asarray(is_own_BP.mean(axis=1), dtype=np.float64)

    def described(self, number: int, found: Mapping[str, Moments], credits: Sequence[Credit]) -> RedundancyBin:
        """Return what is known of a bin.

        Args:
            number: which.
            found: metric → moments of the credits on its problems.
            credits: in the order of the moments.
        """
        places = [p for p, own in enumerate(self.bin_of_P) if own == number]
        groups = [self.rollouts[p * self.size : (p + 1) * self.size] for p in places]
        shares, all_of_them = [redundant_share(group) for group in groups], [r for group in groups for r in group]
        return RedundancyBin(
            low=min(shares),
            high=max(shares),
            share=redundant_share(all_of_them),
            problems=len(groups),
            accuracy=sum(bool(each.correct) for each in all_of_them) / len(all_of_them),
            tokens=sum(each.n_tokens for each in all_of_them) / len(all_of_them),
            measures={metric: noise_measures(moments, credits) for metric, moments in found.items()},
        )


def redundant_share(rollouts: Iterable[Rollout]) -> float:
    """Return the share of think tokens (those of steps) that lie in redundant steps; 0 without any."""
    lengths = [(step.tokens[1] - step.tokens[0], step.label) for rollout in rollouts for step in rollout.steps]
    thought = sum(length for length, _ in lengths)
    return sum(length for length, label in lengths if label == "redundant") / thought if thought else 0.0


def _split_share(shares: Sequence[float], bins: int) -> float | None:
    """Return the least share on both sides of a border between bins of as many problems each; None without any."""
    placed = [(share, rank * bins // len(shares)) for rank, share in enumerate(sorted(shares))]
    return next((own for (own, first), (other, then) in pairwise(placed) if own == other and first != then), None)


def noise_measures(moments: Moments, credits: Sequence[Credit]) -> dict[str, dict[str, Known]]:
    """Return of every credit its noise and what a batch buys at that noise, each also over that of its reference."""
    at = {credit.name: place for place, credit in enumerate(credits)}
    reads: dict[str, Callable[[int], Floats]] = {
        "noise": partial(measures.noise, moments),
        "signal_to_noise": partial(measures.signal_to_noise, moments),
        "accuracy_for_noise": partial(measures.bought, moments, wanted=at[ACCURACY]),
        "tokens_for_noise": partial(measures.bought, moments, wanted=at[LENGTH]),
    }

    def of(credit: Credit) -> dict[str, Known]:
        found: dict[str, Known] = {}
        for name, read in reads.items():
            values = {name: read(at[credit.name])}
            if credit.beside:
                values[f"{name}_ratio"] = measures.over(moments, values[name], read(at[credit.beside]))
            found |= {said: Known.of(jackknife(values_S, moments.parts)) for said, values_S in values.items()}
        return found

    return {credit.name: of(credit) for credit in credits}
