"""A step's price is its own: worked by hand, and what the others of the group do is only a baseline."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from attnpo.credit import build_method
from attnpo.credit.replay import replay
from attnpo.errors import ConfigError
from attnpo.rollouts import Rollout, Step

ROOM = "benchmarks.hypotheses.step_price"


def response(number: int, right: bool, labels: str) -> Rollout:
    """Steps of three tokens, by the letters of their labels, and an answer of two."""
    names = {"e": "essential", "r": "redundant"}
    steps = tuple(Step((0, 0), (3 * k, 3 * k + 3), label=names[letter]) for k, letter in enumerate(labels))
    end = 3 * len(labels)
    return Rollout(
        "p", "?", "1", number, tuple(range(end + 2)), "", True, right, steps=steps, answer_tokens=(end, end + 2)
    )


def test_by_hand() -> None:
    """Verdict: 1 less 1/2 and so on; shares of redundant tokens 3/8, 0 and 3/11 (b: of the two others)."""
    rows = [response(0, True, "er"), response(1, False, "e"), response(2, True, "ere")]
    found = replay(build_method(f"{ROOM}:StepPriceOracle", {"token_price": 0.2}), rows, 3)
    firsts = {0: (0.5, 3 / 22, (3, 6), 8), 1: (-1.0, (3 / 8 + 3 / 11) / 2, (0, 0), 5), 2: (0.5, 3 / 16, (3, 6), 11)}
    for row, (verdict, share, redundant, length) in firsts.items():
        expected = torch.full((length,), verdict + 0.2 * share)
        expected[slice(*redundant)] -= 0.2
        torch.testing.assert_close(found.advantages_BT[row, :length], expected)
    torch.testing.assert_close(found.rewards_PG, torch.tensor([[1 - 0.6, 0.0, 1 - 0.6]]))


def test_by_heads_a_step_below_the_bar_pays() -> None:
    """Where verdicts agree the price is all: of the whole step at a score of 0, nothing above the bar."""
    rows = [response(0, True, "ee"), response(1, True, "ee")]
    scores = [np.array([0.0, 1.0]), np.array([1.0, 1.0])]
    found = replay(build_method(f"{ROOM}:StepPrice", {"token_price": 0.2}), rows, 2, scores=scores)
    torch.testing.assert_close(found.advantages_BT[0], torch.tensor([-0.2] * 3 + [0.0] * 5))
    torch.testing.assert_close(found.advantages_BT[1], torch.full((8,), 0.2 * 3 / 8))


def test_what_is_the_whole_responses_is_refused() -> None:
    for changes in ({"alpha_len": 0.2}, {"to_go": True}, {"pressure": "length"}):
        with pytest.raises(ConfigError, match=f"^{next(iter(changes))}: "):
            build_method(f"{ROOM}:StepPrice", changes)
