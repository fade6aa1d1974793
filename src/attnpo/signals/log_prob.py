"""Confidence: mean log-probability of the step's tokens (SAS)."""

from __future__ import annotations

from torch import Tensor

from attnpo.errors import DataError
from attnpo.signals.base import Seen, Signal


class LogProb(Signal):
    """The surer the model was of a step, the more it deserves to be kept.

    u(s) = 1 / |s| sum over the tokens t of s of log pi(t | before), under the sampling policy at the sampling
    temperature (SAS, arXiv 2604.24003, which takes the advantage from the 30 % of steps with lowest u in a right
    response, and with highest u in a wrong one).
    """

    name = "log_prob"
    paper = "SAS"
    arxiv = "2604.24003"
    source = "official code"
    formula = "mean log pi of the step's tokens"
    needs = ("log-probabilities",)

    def score(self, seen: Seen) -> Tensor:
        """Return (B, K) means in nats.

        Raises:
            DataError: the log-probabilities are not known.
        """
        if seen.log_probs_BT is None:
            raise DataError(f"signal {self.name}: needs a forward pass; give the model")
        return seen.step_means(seen.log_probs_BT)
