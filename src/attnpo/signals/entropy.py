"""Uncertainty: mean entropy of the step's tokens, either sign."""

from __future__ import annotations

from torch import Tensor

from attnpo.errors import DataError
from attnpo.signals.base import Seen, Signal


class EntropyHigh(Signal):
    """The less sure the model was of what to write, the more a step deserves to be kept.

    H(s) = 1 / |s| sum over the tokens t of s of the entropy of pi(. | before t). EAPO (arXiv 2604.11056) bounds the
    credit of a token by its entropy; Step Entropy (arXiv 2508.03346) prunes the steps of lowest entropy.
    """

    name = "entropy_high"
    paper = "EAPO; Step Entropy"
    arxiv = "2604.11056"
    source = "secondary notes"
    formula = "mean entropy of the step's tokens"
    needs = ("entropies",)

    def score(self, seen: Seen) -> Tensor:
        """Return (B, K) means in nats.

        Raises:
            DataError: the entropies are not known.
        """
        if seen.entropies_BT is None:
            raise DataError(f"signal {self.name}: needs a forward pass; give the model")
        return seen.step_means(seen.entropies_BT)


class EntropyLow(EntropyHigh):
    """The surer the model was of what to write, the more a step deserves to be kept: the other sign."""

    name = "entropy_low"
    paper = "EAPO, other sign"
    formula = "- mean entropy of the step's tokens"

    def score(self, seen: Seen) -> Tensor:
        """Return (B, K) means in nats, negated."""
        return -super().score(seen)
