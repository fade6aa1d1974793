from __future__ import annotations

import numpy as np
import pytest

from attnpo.attention import Head
from attnpo.discovery import DiscoverySettings
from attnpo.discovery.measure import ensemble, labelled_pairs, measure, sra_intervals
from attnpo.discovery.ranking import sra_interval
from attnpo.errors import DataError
from attnpo.rollouts import Rollout, Step
from attnpo.statistics import Interval

SETTINGS = DiscoverySettings(resamples=300)
HEADS = [Head(1, 0), Head(1, 3), Head(4, 2)]  # not every layer has softmax attention


def response(problem, labels, lengths=None):
    lengths = lengths or [10] * len(labels)
    steps, start = [], 0
    for k, (label, length) in enumerate(zip(labels, lengths, strict=True)):
        steps.append(Step((k, k + 1), (start, start + length), label=label))
        start += length
    ids = tuple(range(start + 10))
    return Rollout(problem, "q", "1", 0, ids, "", True, True, tuple(steps), (start, start + 9), pass_rate=1.0)


def world(n_problems=40, seed=0, n_heads=3):
    """Pairs of equal length, two samples a problem; head 1 knows the truth with noise, the others know nothing."""
    rng = np.random.default_rng(seed)
    rollouts, scores = [], []
    for i in range(2 * n_problems):
        labels = [str(x) for x in rng.permutation(["essential", "essential", "redundant", "redundant"])]
        rollouts.append(response(f"p{i % n_problems}", labels))
        rows = rng.random((4, n_heads)).astype(np.float32)
        rows[:, 1] = 0.2 + 0.1 * ((np.array(labels) == "essential") - 0.5) + 0.03 * rng.normal(size=4)
        scores.append(rows)
    return rollouts, scores


def test_intervals_of_all_heads_are_those_of_each_head_alone():
    rollouts, scores = world(n_heads=5)
    rollouts.insert(3, response("no pair", ["essential", "undecided"]))
    scores.insert(3, np.zeros((2, 5), dtype=np.float32))
    pairs = labelled_pairs(rollouts, scores)
    found = sra_intervals(pairs, 0.9, 400, 7)
    assert len(found) == 5
    for n, interval in enumerate(found):
        alone = sra_interval(pairs.differences_MN[:, n], pairs.problems_M, 0.9, 400, 7)
        assert interval.value == pytest.approx(alone.value)
        assert (interval.low, interval.high) == pytest.approx((alone.low, alone.high))
    assert found[1].low > 0.9 > 0.6 > found[0].high


def test_a_head_set_that_knows_the_truth():
    rollouts, scores = world()
    measured = measure(rollouts, scores, [1], HEADS, SETTINGS)
    assert measured.sra == measured.sra_length_matched
    assert (measured.sra.value, measured.sra.low, measured.sra.high) == ends(measured.per_head[1])
    assert measured.sra.value > 0.95
    assert (measured.pairs, measured.pairs_length_matched) == (320, 320)
    assert (measured.problems, measured.problems_length_matched) == (40, 40)
    assert measured.ties == 0
    assert measured.proven
    assert measured.verdict.startswith("Proven: heads (1, 3) reach SRA")
    assert measured.trivial["uniform attention"].sra == Interval(value=0.5, low=0.5, high=0.5)
    assert measured.trivial["shorter first"].sra.value == 0.5
    redundant = [s[k, 1] for r, s in zip(rollouts, scores, strict=True) for k in range(4) if r.steps[k].label[0] == "r"]
    # Eq. 6 at pass rate 1: the bar is |F| / |o| = 9 / 50; all steps have one length.
    assert measured.credit_accuracy["PA redundant"].value == pytest.approx(np.mean(np.array(redundant) < 0.18))
    assert set(measured.trivial) == {
        "shorter first", "longer first", "earlier first", "later first", "all heads", "uniform attention",
        "fewer characters first", "more characters first",
    }  # fmt: skip


def ends(interval):
    return pytest.approx((interval.value, interval.low, interval.high))


def test_ties_are_counted_and_worth_half():
    rollout = response("a", ["essential", "redundant", "redundant"])
    scores = np.array([[1, 2, 0], [1, 1, 0], [1, 2, 1]], dtype=np.float32)
    measured = measure([rollout], [scores], [0, 1], HEADS, SETTINGS)
    # Head 0 ties twice; head 1 wins once and ties once; head 2 ties once and loses once. Ensemble: head 1's signs.
    assert measured.ties_per_head == [1.0, 0.5, 0.5]
    assert [interval.value for interval in measured.per_head] == [0.5, 0.75, 0.25]
    assert (measured.ties, measured.sra.value) == (0.5, 0.75)


def test_a_random_model_stands_beside_the_heads():
    rollouts, scores = world()
    _, noise = world(seed=1)
    chosen = measure(rollouts, scores, [1], HEADS, SETTINGS, random_scores=noise, random_chosen=[0])
    assert chosen.trivial["random model"].sra == measure(rollouts, noise, [0], HEADS, SETTINGS).sra
    same = measure(rollouts, scores, [1], HEADS, SETTINGS, random_scores=noise)
    assert "random model" not in same.trivial
    assert same.trivial["random model, same heads"].sra == measure(rollouts, noise, [1], HEADS, SETTINGS).sra
    all_heads = measure(rollouts, noise, [0, 1, 2], HEADS, SETTINGS).sra
    assert same.trivial["random model, all heads"].sra == chosen.trivial["random model, all heads"].sra == all_heads


def test_a_head_set_that_knows_nothing_is_not_proven():
    rollouts, scores = world()
    measured = measure(rollouts, scores, [0, 2], HEADS, SETTINGS)
    assert not measured.proven
    assert measured.sra.low < 0.5 < measured.sra.high


def test_the_ensemble_is_the_mean_of_its_heads():
    rows = [np.array([[1.0, 2.0, 6.0]], dtype=np.float32)]
    assert ensemble(rows, [0, 2])[0].tolist() == [3.5]


@pytest.mark.parametrize("rollouts", [[], [response("a", ["essential", "undecided"])]])
def test_no_pair_is_an_error(rollouts):
    with pytest.raises(DataError, match=f"of {len(rollouts)} responses none has both"):
        measure(rollouts, [np.zeros((2, 3), dtype=np.float32) for _ in rollouts], [0], HEADS, SETTINGS)


def test_rival_signals_stand_beside_the_rules_and_decide_nothing():
    rollouts, scores = world()
    knows = [[float(step.label == "essential") for step in r.steps] for r in rollouts]
    rivals = {"log_prob": [np.array(row, dtype=np.float32) for row in knows]}
    measured = measure(rollouts, scores, [1], HEADS, SETTINGS, signal_scores=rivals)
    assert measured.proven  # a rival that ranks better is no rule to beat
    assert set(measured.signals) == {"heads_ranked", "log_prob"}
    assert measured.signals["log_prob"].sra.value == measured.signals["log_prob"].sra_length_matched.value == 1
    # By rank at pass rate 1 the lower half of the tokens is redundant and the upper half essential, exactly.
    assert {cell: share.value for cell, share in measured.signals["log_prob"].credit_accuracy.items()} == {
        "PA essential": 0, "PA redundant": 1, "NA essential": 1, "NA redundant": 0,
    }  # fmt: skip
    assert measured.signals["heads_ranked"].sra == measured.sra
    for rule in ("shorter first", "earlier first", "all heads"):
        assert set(measured.trivial[rule].credit_accuracy) == set(measured.credit_accuracy)
    # Equal lengths: every step has the score of even attention, which is the bar itself at pass rate 1.
    assert all(share.value == 0 for share in measured.trivial["shorter first"].credit_accuracy.values())
