from __future__ import annotations

import math
from itertools import pairwise

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from attnpo.credit import GroupBatch, length_z_scores, outcome_rewards, tlmre_rewards


def group(correct, lengths):
    return torch.tensor([correct], dtype=torch.bool), torch.tensor([lengths])


def test_worked_example():
    # Correct lengths 100, 200, 300: mean 200, population std sqrt(20000 / 3) = 81.6497, z = -1.224745, 0, 1.224745.
    # sigmoid(1.224745) = 0.772897: r = 1 - 0.2 * 0.227103, 1 - 0.2 * 0.5, 1 - 0.2 * 0.772897, and 0 for the wrong one.
    correct_PG, lengths_PG = group([True, True, True, False], [100, 200, 300, 5000])
    z_PG = length_z_scores(correct_PG, lengths_PG)
    assert z_PG[0, :3].tolist() == pytest.approx([-1.224745, 0, 1.224745], abs=1e-6)
    rewards_PG = tlmre_rewards(correct_PG, lengths_PG, alpha_len=0.2)
    assert rewards_PG[0].tolist() == pytest.approx([0.9545793, 0.9, 0.8454207, 0], abs=1e-6)


def test_groups_do_not_mix():
    correct_PG = torch.tensor([[True, True, False], [True, False, True]])
    lengths_PG = torch.tensor([[10, 20, 1], [700, 900, 300]])
    # Two correct responses: z is -1 for the shorter, 1 for the longer; sigmoid(1) = 0.731059, sigmoid(-1) = 0.268941.
    short, long = 1 - 0.2 * 0.2689414, 1 - 0.2 * 0.7310586
    rewards_PG = tlmre_rewards(correct_PG, lengths_PG, 0.2)
    assert rewards_PG.flatten().tolist() == pytest.approx([short, long, 0, long, 0, short], abs=1e-6)


@pytest.mark.parametrize(
    ("correct", "lengths", "expected"),
    [
        ([False, False, False], [5, 6, 7], [0, 0, 0]),  # all wrong
        ([False, True, False], [5, 16000, 7], [0, 0.9, 0]),  # one correct: z = 0
        ([True, True, True], [131071] * 3, [0.9, 0.9, 0.9]),  # equal lengths: z = 0
        ([True, True, False], [7, 7, 9], [0.9, 0.9, 0]),
        ([True], [3], [0.9]),
    ],
)
def test_edges(correct, lengths, expected):
    correct_PG, lengths_PG = group(correct, lengths)
    assert length_z_scores(correct_PG, lengths_PG)[correct_PG].abs().sum() == 0
    assert torch.equal(tlmre_rewards(correct_PG, lengths_PG, 0.2), torch.tensor([expected]))


def test_without_length_weight_the_reward_is_the_verdict():
    correct_PG, lengths_PG = group([True, False, True], [10, 20, 30])
    assert torch.equal(tlmre_rewards(correct_PG, lengths_PG, 0.0), outcome_rewards(correct_PG))
    assert outcome_rewards(correct_PG).tolist() == [[1, 0, 1]]


def test_pass_rate_counts_unfinished_responses():
    correct_PG = torch.tensor([[True, False, True, True], [False] * 4])
    groups = GroupBatch(correct_PG, torch.ones(2, 4).long(), torch.tensor([[True, False, True, True]] * 2))
    assert groups.pass_rate_P.tolist() == [0.75, 0]


responses = st.lists(st.tuples(st.booleans(), st.integers(1, 32768)), min_size=1, max_size=12)


@given(responses)
def test_z_is_standard_over_the_correct(rows):
    correct, lengths = zip(*rows, strict=True)
    z = [z for z, right in zip(length_z_scores(*group(correct, lengths))[0].tolist(), correct, strict=True) if right]
    assert all(map(math.isfinite, z))
    if len({length for right, length in rows if right}) > 1:
        assert sum(z) / len(z) == pytest.approx(0, abs=1e-4)
        assert sum(value * value for value in z) / len(z) == pytest.approx(1, abs=1e-4)
    else:
        assert all(value == 0 for value in z)


@given(responses, st.floats(0, 1))
def test_correct_responses_earn_more_the_shorter_they_are_and_wrong_ones_nothing(rows, alpha_len):
    correct, lengths = zip(*rows, strict=True)
    rewards = tlmre_rewards(*group(correct, lengths), alpha_len)[0].tolist()
    assert all(reward == 0 for reward, right in zip(rewards, correct, strict=True) if not right)
    ordered = sorted((length, reward) for reward, right, length in zip(rewards, correct, lengths, strict=True) if right)
    for (_, shorter), (_, longer) in pairwise(ordered):
        assert shorter >= longer - 1e-6
    assert all(1 - alpha_len - 1e-6 <= reward <= 1 for _, reward in ordered)
    if alpha_len > 0.01 and len(ordered) > 1 and ordered[0][0] < ordered[-1][0]:
        assert ordered[0][1] > ordered[-1][1]
