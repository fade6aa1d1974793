"""Length of the step, in tokens and in characters, either way round."""

from __future__ import annotations

from torch import Tensor

from attnpo.signals.base import Seen, Signal


class Longer(Signal):
    """The more tokens a step has, the more it deserves to be kept."""

    name = "longer"
    formula = "|s|, tokens"
    rule = "longer first"

    def score(self, seen: Seen) -> Tensor:
        """Return (B, K) tokens of each step."""
        return seen.step_lengths_BK.float()


class Shorter(Longer):
    """The fewer tokens a step has, the more it deserves to be kept."""

    name = "shorter"
    formula = "-|s|, tokens"
    rule = "shorter first"

    def score(self, seen: Seen) -> Tensor:
        """Return (B, K) minus the tokens of each step."""
        return -super().score(seen)


class MoreCharacters(Signal):
    """The more characters a step has, the more it deserves to be kept."""

    name = "more_characters"
    formula = "characters of s"
    rule = "more characters first"

    def score(self, seen: Seen) -> Tensor:
        """Return (B, K) characters of each step."""
        return seen.step_characters_BK.float()


class FewerCharacters(MoreCharacters):
    """The fewer characters a step has, the more it deserves to be kept."""

    name = "fewer_characters"
    formula = "-characters of s"
    rule = "fewer characters first"

    def score(self, seen: Seen) -> Tensor:
        """Return (B, K) minus the characters of each step."""
        return -super().score(seen)
