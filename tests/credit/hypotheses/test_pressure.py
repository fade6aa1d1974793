"""Pressure on what is redundant is split credit's length term alone, on redundant tokens."""

from __future__ import annotations

from dataclasses import asdict

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from attnpo.credit import build_method
from attnpo.credit.replay import replay
from attnpo.errors import ConfigError
from attnpo.rollouts import Rollout, Step

ROOM = "benchmarks.hypotheses"
PAIRS = [
    (f"{ROOM}.pressure:RedundantPressure", f"{ROOM}.split:SplitCredit"),
    (f"{ROOM}.pressure:RedundantPressureOracle", f"{ROOM}.split:SplitOracle"),
]
AS_SPLIT = {"mask_verdict": False, "to_go": False, "pressure": "redundant"}


def group(correct: list[bool], labels: list[str]) -> list[Rollout]:
    """Responses of three steps of three tokens, the labels in turn, and an answer of two."""
    kinds = ["essential", "redundant", "undecided"]
    rows = []
    for number, (right, first) in enumerate(zip(correct, labels, strict=True)):
        order = [first, *kinds]
        steps = tuple(Step((0, 0), (3 * k, 3 * k + 3), label=order[k]) for k in range(3))
        ids = tuple(range(11))
        rows.append(Rollout("p", "?", "1", number, ids, "", True, right, steps=steps, answer_tokens=(9, 11)))
    return rows


@pytest.mark.parametrize(("name", "split"), PAIRS)
@given(data=st.data(), alpha_len=st.floats(0, 1), scale=st.booleans(), graded=st.booleans())
def test_it_is_split_credits_length_term_alone(name, split, data, alpha_len, scale, graded):
    correct = data.draw(st.lists(st.booleans(), min_size=2, max_size=4))
    size = len(correct)
    labels = data.draw(st.lists(st.sampled_from(["essential", "redundant"]), min_size=size, max_size=size))
    rows = group(correct, labels)
    values = st.lists(st.floats(0, 1, width=32), min_size=3, max_size=3)
    scores = [np.array(row) for row in data.draw(st.lists(values, min_size=size, max_size=size))]
    given_too = {"alpha_len": alpha_len, "scale_advantages": scale} | ({} if "Oracle" in name else {"graded": graded})
    found = replay(build_method(name, given_too), rows, size, scores=scores)
    expected = replay(build_method(split, given_too | AS_SPLIT), rows, size, scores=scores)
    assert torch.equal(found.rewards_PG, expected.rewards_PG)
    assert torch.equal(found.advantages_BT, expected.advantages_BT)
    assert (found.gamma_BK == 1).all()


@pytest.mark.parametrize(("name", "split"), PAIRS)
def test_its_settings_are_split_credits_with_other_defaults(name, split):
    own, theirs = asdict(build_method(name).settings), asdict(build_method(split, AS_SPLIT).settings)
    assert own == theirs
    assert build_method(name).judges_steps
    with pytest.raises(ConfigError, match=r"^pressure: "):
        build_method(name, {"pressure": "length"})
