from __future__ import annotations

import pytest
import torch

from attnpo.credit import CREDIT_CELLS, CreditAccuracy, CreditSettings, build_method, credit_accuracy
from attnpo.errors import DataError

# p = 1/2 and |F| / |o| = 1/8: S_base = 1/32 and delta = 3/4. Labels: 1 essential, 2 redundant, 0 undecided.
SCORES = [[0.5, 0.0, 1 / 64, 0.5], [0.0, 0.5, 0.0]]
LABELS = [[1, 2, 1, 2], [2, 1, 0]]
LENGTHS = [[10, 20, 30, 40], [5, 15, 100]]


@pytest.fixture
def steps(make_steps):
    return make_steps(SCORES, labels=LABELS, step_lengths=LENGTHS, advantage=0.0, t=0)


def test_worked_example(steps):
    accuracy = credit_accuracy(build_method("attnpo"), steps)
    # Row 0: PA touches steps 1 and 2 (20 redundant tokens, 30 essential), NA 0 and 3 (10 essential, 40 redundant).
    # Row 1: PA touches step 0 (5 redundant; step 2 is undecided), NA step 1 (15 essential).
    assert {cell: accuracy.touched[cell].tolist() for cell in CREDIT_CELLS} == {
        "PA essential": [30, 0],
        "PA redundant": [20, 5],
        "NA essential": [10, 15],
        "NA redundant": [40, 0],
    }
    assert accuracy.total["PA essential"].tolist() == accuracy.total["NA essential"].tolist() == [40, 15]
    assert accuracy.total["PA redundant"].tolist() == accuracy.total["NA redundant"].tolist() == [60, 5]
    assert accuracy.shares() == pytest.approx(
        {"PA essential": 30 / 55, "PA redundant": 25 / 65, "NA essential": 25 / 55, "NA redundant": 40 / 65}
    )


def test_weighted_by_attenuation(steps):
    accuracy = credit_accuracy(build_method("attnpo"), steps, weighted=True)
    # 1 - gamma: 1/4 without attention, 1/8 at half the baseline, 1 under NA.
    assert accuracy.touched["PA essential"].tolist() == [30 / 8, 0]
    assert accuracy.touched["PA redundant"].tolist() == [20 / 4, 5 / 4]
    assert accuracy.touched["NA redundant"].tolist() == [40, 0]


def test_oracle_is_perfect_and_its_reverse_perfectly_wrong(steps):
    assert credit_accuracy(build_method("oracle"), steps).shares() == {
        "PA essential": 0,
        "PA redundant": 1,
        "NA essential": 1,
        "NA redundant": 0,
    }
    assert credit_accuracy(build_method("oracle_reversed"), steps).shares() == {
        "PA essential": 1,
        "PA redundant": 0,
        "NA essential": 0,
        "NA redundant": 1,
    }


def test_methods_and_switches_that_touch_nothing(steps):
    assert set(credit_accuracy(build_method("tlmre"), steps).shares().values()) == {0.0}
    without = build_method("attnpo", CreditSettings(negative_attenuation=False, schedule_steps=10**9))
    shares = credit_accuracy(without, steps).shares()
    assert shares["NA essential"] == shares["NA redundant"] == 0
    assert shares["PA redundant"] == pytest.approx(25 / 65)


def test_wrong_responses_do_not_count_and_single_steps_count_as_untouched(make_steps):
    steps = make_steps(
        [[0.0, 0.0], [0.0, 0.0], [0.0]],
        labels=[[2, 2], [2, 2], [2]],
        step_lengths=[[1, 2], [3, 4], [5]],
        correct=[True, False, True],
    )
    accuracy = credit_accuracy(build_method("attnpo"), steps)
    assert accuracy.touched["PA redundant"].tolist() == [3, 0, 0]
    assert accuracy.total["PA redundant"].tolist() == [3, 0, 5]
    assert accuracy.shares()["PA essential"] is None


def test_batches_concatenate(steps, make_steps):
    method = build_method("attnpo")
    halves = [
        credit_accuracy(method, make_steps([SCORES[row]], labels=[LABELS[row]], step_lengths=[LENGTHS[row]]))
        for row in (0, 1)
    ]
    joined, whole = CreditAccuracy.concatenate(halves), credit_accuracy(method, steps)
    for cell in CREDIT_CELLS:
        assert torch.equal(joined.touched[cell], whole.touched[cell])
        assert torch.equal(joined.total[cell], whole.total[cell])


def test_labels_are_needed(make_steps):
    with pytest.raises(DataError, match=r"^credit accuracy: the steps carry no labels"):
        credit_accuracy(build_method("attnpo"), make_steps([[0.1, 0.2]]))
