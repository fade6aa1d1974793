from __future__ import annotations

import itertools

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from attnpo.credit import build_method
from attnpo.credit.methods.smartthinker import likeliest_length


def rewards(make_groups, group, **settings):
    return build_method("smartthinker", settings).rewards(make_groups(group))[0].tolist()


def test_worked_example(make_groups):
    # correct 20, 40: m1 = 30, v1 = 100. All of 20, 40, 10, 70: m2 = 35, v2 = 525.
    # L* = (100 * 35 - 525 * 30) / (100 - 525) = 28.82; only the response of 40 is longer: l = 11.18, mean l = 2.79
    group = [(True, 20), (True, 40), (False, 10), (False, 70)]
    excess = 40 - (100 * 35 - 525 * 30) / -425
    price = 0.5 / (excess - excess / 4)
    assert rewards(make_groups, group) == pytest.approx([1, 1 - price * excess, 0, 0], rel=1e-6)
    # against the wrong ones: m2 = 40, v2 = 900, L* = (100 * 40 - 900 * 30) / -800 = 28.75
    excess = 40 - 28.75
    assert rewards(make_groups, group, against="wrong")[1] == pytest.approx(1 - 0.5 / (0.75 * excess) * excess)


@pytest.mark.parametrize(
    ("lengths", "expected"),
    [
        ([10, 60, 30, 40], 10),  # correct ones spread wider than all: the shortest of the group
        ([30, 32, 90, 88], 26042 / 841),  # v1 = 1, m1 = 31; all: m2 = 60, v2 = 842: (60 - 842 * 31) / (1 - 842)
        ([30, 30, 30, 30], 30),  # no spread at all
    ],
)
def test_the_likeliest_length(lengths, expected):
    correct = torch.tensor([[True, True, False, False]])
    got = likeliest_length(torch.tensor([lengths]).double(), correct, torch.ones_like(correct))
    assert float(got) == pytest.approx(expected)


@pytest.mark.parametrize("order", list(itertools.permutations([3, 9, 25, 56, 64])))
def test_a_likeliest_length_that_is_rounded_costs_nothing(make_groups, order):
    # One correct response: v1 = 0, so L* is its own length, and no order of the sums may make it longer by rounding.
    assert rewards(make_groups, [(True, 25), *((False, length) for length in order)]) == [1, 0, 0, 0, 0, 0]


groups_of = st.lists(st.tuples(st.booleans(), st.integers(1, 60)), min_size=2, max_size=7)


@given(groups_of, st.sampled_from(["all", "wrong"]))
def test_the_longest_correct_response_falls_to_the_mean_and_no_further(make_groups, group, against):
    got = rewards(make_groups, group, against=against)
    mean = sum(got) / len(got)
    for (right, length), reward in zip(group, got, strict=True):
        assert reward >= mean - 1e-5 if right else reward == 0
        assert all(
            reward <= other + 1e-6 for (ok, n), other in zip(group, got, strict=True) if right and ok and n < length
        )
    paying = [reward for (right, _), reward in zip(group, got, strict=True) if right and reward < 1]
    if paying:
        assert min(paying) == pytest.approx(mean, abs=1e-5)
    if all(right for right, _ in group):
        assert got == [1] * len(group)
