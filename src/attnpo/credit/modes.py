"""Two modes of a response: it thinks, or it closes an empty think part and answers at once."""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from typing import Final

import torch
from torch import Tensor

from attnpo.errors import ConfigError
from attnpo.rollouts import Span
from attnpo.think import THINK_CLOSE, THINK_OPEN, full_text

NO_THINK: Final = "no_think"
"""Fact: 1 where the response answers without thinking."""


def is_no_think(response: str) -> bool:
    """Return whether a response answers without thinking.

    It has no think part, or nothing but white space stands in the one it closed. One that a limit cut before `</think>`
    was thinking.

    Args:
        response: the response, with the `<think>` that its prompt opened (`attnpo.think.full_text`).
    """
    think, close, _ = response.partition(THINK_CLOSE)
    return not think.replace(THINK_OPEN, "", 1).strip() if close else THINK_OPEN not in response


def count_modes(question: str, response: str, steps: Sequence[Span]) -> dict[str, tuple[int, int]]:
    """Count responses without thinking: `attnpo evaluate --counter attnpo.credit.modes:count_modes`."""
    return {NO_THINK: (int(is_no_think(full_text(response, in_think=bool(steps)))), 1)}


def forced_log_probs(own: Sequence[int], other: Sequence[int], share: float = 0.5) -> dict[int, float]:
    """Return the log-probability of each forced token, place -> value, where one of two openings is forced.

    Tokens that both begin with are certain (0); the first in which they differ has the probability of its opening;
    those after it are certain again.

    Args:
        own: the opening that was forced, in token ids.
        other: the one that might have been.
        share: how often `own` is forced, above 0.

    Raises:
        ConfigError: one opening is the beginning of the other, so that they do not tell two modes apart.
    """
    for place, (mine, theirs) in enumerate(zip(own, other, strict=False)):
        if mine != theirs:
            return {**dict.fromkeys(range(len(own)), 0.0), place: math.log(share)}
    raise ConfigError(f"think_opening: it and {THINK_CLOSE!r} begin with the same tokens; choose another text")


@torch.no_grad()
def draw_without(log_probs_V: Tensor, excluded: int, rng: random.Random) -> tuple[int, float]:
    """Draw a token from a distribution that one of its tokens is taken out of.

    Args:
        log_probs_V: (V,) log-probabilities.
        excluded: the token that is not to be drawn.
        rng: source of chance; one number is taken.

    Returns:
        the token, and its log-probability among the others: log p(token) - log(1 - p(excluded)).
    """
    rest_V = log_probs_V.double().cpu().clone()
    rest_V[excluded] = -math.inf
    # By the sum of the others, not 1 - p(excluded): exact also where that is nearly 0.
    rest_V = torch.log_softmax(rest_V, dim=0)
    below_V = rest_V.exp().cumsum(dim=0)
    token = int(torch.searchsorted(below_V, rng.random() * float(below_V[-1]), right=True))
    return token, float(rest_V[token])
