from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from attnpo.discovery.ranking import pair_table, sra, sra_interval, wins
from attnpo.rollouts import Rollout, Step

LABELS = ("essential", "redundant", "undecided")


def response(problem, steps):
    """A response from (label, number of tokens) pairs; a third entry is the number of characters."""
    made, start, place = [], 0, 0
    for label, length, *characters in steps:
        width = characters[0] if characters else length
        made.append(Step((place, place + width), (start, start + length), label=label))
        start, place = start + length, place + width
    return Rollout(problem, "q", "1", 0, tuple(range(start + 1)), "", True, True, tuple(made))


def test_hand_worked_sra_with_ties():
    #          e      r      r      u      e
    steps = [
        ("essential", 5, 30), ("redundant", 5, 20), ("redundant", 20, 40), ("undecided", 5), ("essential", 6, 40),
    ]  # fmt: skip
    scores = np.array([[4, 1], [1, 1], [4, 3], [9, 9], [2, 0]], dtype=np.float32)
    pairs = pair_table([response("a", steps)], [scores])
    # Head 0: 4>1, 4=4, 2>1, 2<4 → 1, ½, 1, 0.  Head 1: 1=1, 1<3, 0<1, 0<3 → ½, 0, 0, 0.
    assert wins(pairs.differences_MN).tolist() == [[1, 0.5], [0.5, 0], [1, 0], [0, 0]]
    assert sra(pairs.differences_MN).tolist() == [0.625, 0.125]
    # Ensemble 2.5, 1, 3.5, –, 1 → 2.5>1, 2.5<3.5, 1=1, 1<3.5.
    assert sra(pairs.ensemble([0, 1])[:, None]).tolist() == [0.375]
    assert pairs.lengths_M2.tolist() == [[5, 5], [5, 20], [6, 5], [6, 20]]
    assert pairs.length_matched_M.tolist() == [True, False, True, False]


@pytest.mark.parametrize(
    ("lengths", "matched"), [((9, 10), True), ((18, 20), True), ((18, 21), False), ((1, 2), True), ((1, 3), False)]
)
def test_length_matched_is_within_a_tenth_or_one_token(lengths, matched):
    steps = [("essential", lengths[0]), ("redundant", lengths[1])]
    pairs = pair_table([response("a", steps)], [np.zeros((2, 1), dtype=np.float32)])
    assert pairs.length_matched_M.tolist() == [matched]


def brute_force_sra(rollouts, scores, heads):
    won = total = 0.0
    for rollout, scores_KN in zip(rollouts, scores, strict=True):
        for e, essential in enumerate(rollout.steps):
            for r, redundant in enumerate(rollout.steps):
                owned = all(s.tokens[0] < s.tokens[1] for s in (essential, redundant))
                if (essential.label, redundant.label) == ("essential", "redundant") and owned:
                    difference = sum(float(scores_KN[e, h]) - float(scores_KN[r, h]) for h in heads)
                    won += 1.0 if difference > 0 else 0.5 if difference == 0 else 0.0
                    total += 1
    return won / total if total else None


@st.composite
def probing_sets(draw):
    rollouts, scores = [], []
    for i in range(draw(st.integers(1, 4))):
        n = draw(st.integers(2, 6))
        steps = draw(st.lists(st.tuples(st.sampled_from(LABELS), st.integers(0, 3)), min_size=n, max_size=n))
        rollouts.append(response(f"p{i % 2}", steps))
        # Eighths are exact in float32, so ties are ties in either arithmetic.
        rows = draw(st.lists(st.lists(st.integers(0, 6), min_size=4, max_size=4), min_size=n, max_size=n))
        scores.append(np.array(rows, dtype=np.float32) / 8)
    return rollouts, scores


@settings(max_examples=150, deadline=None)
@given(probing_sets())
def test_sra_equals_brute_force(made):
    rollouts, scores = made
    pairs = pair_table(rollouts, scores)
    if not len(pairs):
        assert brute_force_sra(rollouts, scores, [0]) is None
        return
    assert sra(pairs.differences_MN).tolist() == pytest.approx(
        [brute_force_sra(rollouts, scores, [h]) for h in range(4)]
    )
    assert sra(pairs.ensemble([0, 2, 3])[:, None])[0] == pytest.approx(brute_force_sra(rollouts, scores, [0, 2, 3]))
    found = sra_interval(pairs.differences_MN[:, 1], pairs.problems_M, resamples=20)
    assert found.value == pytest.approx(brute_force_sra(rollouts, scores, [1]))


def test_chunks_do_not_change_sra(monkeypatch):
    differences = np.random.default_rng(0).normal(size=(50, 3)).astype(np.float32)
    whole = sra(differences, added_to_M=np.linspace(-1, 1, 50))
    monkeypatch.setattr("attnpo.discovery.ranking._CHUNK", 7)
    assert sra(differences, added_to_M=np.linspace(-1, 1, 50)).tolist() == whole.tolist()


def test_the_interval_resamples_problems_not_pairs():
    # Two problems that disagree entirely: either both or one of them is drawn, however many pairs they have.
    differences = np.array([1.0] * 50 + [-1.0] * 50)
    found = sra_interval(differences, np.repeat([0, 1], 50))
    assert (found.value, found.low, found.high) == (0.5, 0.0, 1.0)
