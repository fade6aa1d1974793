from __future__ import annotations

import torch

from attnpo.gradients.split import kept_share, still_to_come


def test_what_is_still_to_come_by_hand():
    # Lengths 3, 1, 2. From the first token on 3, 1, 2 are left; the others' means are 1.5, 2.5, 2.
    # From the second on 2 and 1 are left, each the other's baseline; from the third on 1, and nobody else is as long.
    lengths = torch.tensor([3, 1, 2])
    costs = (torch.arange(3) < lengths[:, None]).float()
    found = still_to_come(costs, lengths, 3)
    assert found.tolist() == [[-1.5, -1.0, -1.0], [1.5, 0.0, 0.0], [0.0, 1.0, 0.0]]


def test_groups_do_not_see_each_other():
    lengths = torch.tensor([2, 2, 1, 1])
    costs = torch.tensor([[1.0, 0.0], [0.0, 1.0], [1.0, 0.0], [0.0, 0.0]])
    found = still_to_come(costs, lengths, 2)
    assert found.tolist() == [[0.0, 1.0], [0.0, -1.0], [-1.0, 0.0], [1.0, 0.0]]


def test_a_step_keeps_what_its_score_is_of_the_baseline():
    shares = kept_share(torch.tensor([[0.0, 0.1, 0.4], [0.0, 0.1, 0.4]]), torch.tensor([0.2, 0.0]))
    assert torch.allclose(shares, torch.tensor([[0.0, 0.5, 1.0], [1.0, 1.0, 1.0]]))
