from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from attnpo.credit import group_advantages, grpo_advantages, rloo_advantages

REWARDS = torch.tensor([[1.0, 0.5, 0.0, 0.0]])


def test_worked_examples():
    # RLOO: 1 - 0.5/3, 0.5 - 1/3, 0 - 1.5/3. GRPO: the mean is 0.375.
    assert rloo_advantages(REWARDS)[0].tolist() == pytest.approx([0.8333333, 0.1666667, -0.5, -0.5])
    assert grpo_advantages(REWARDS)[0].tolist() == pytest.approx([0.625, 0.125, -0.375, -0.375])
    # Sample variance (0.625^2 + 0.125^2 + 2 * 0.375^2) / 3 = 0.2291667, root 0.4787136; 0.625 / 0.4788136 = 1.30531.
    scaled = group_advantages(REWARDS, "grpo", scale=True)[0].tolist()
    assert scaled == pytest.approx([1.3053097, 0.2610619, -0.7831858, -0.7831858], abs=1e-6)


def test_kind_selects_the_advantage():
    assert torch.equal(group_advantages(REWARDS, "rloo"), rloo_advantages(REWARDS))
    assert torch.equal(group_advantages(REWARDS, "grpo"), grpo_advantages(REWARDS))
    assert group_advantages(REWARDS, "rloo", scale=True)[0, 2].item() == pytest.approx(-0.5 / 0.4788136, abs=1e-6)


@pytest.mark.parametrize("kind", ["rloo", "grpo"])
@pytest.mark.parametrize("scale", [False, True])
@pytest.mark.parametrize("reward", [0.0, 1.0, 0.9, 1 / 3])
@pytest.mark.parametrize("size", [1, 3, 7, 16])
def test_equal_rewards_give_exactly_zero(kind, scale, reward, size):
    assert torch.equal(group_advantages(torch.full((2, size), reward), kind, scale), torch.zeros(2, size))


rewards = st.lists(st.floats(-2, 2, width=32), min_size=2, max_size=10)


@given(rewards)
def test_each_group_sums_to_zero(values):
    assert rloo_advantages(torch.tensor([values])).sum().item() == pytest.approx(0, abs=1e-5)
    assert grpo_advantages(torch.tensor([values])).sum().item() == pytest.approx(0, abs=1e-5)


@given(rewards, st.floats(-3, 3, width=32), st.booleans(), st.sampled_from(["rloo", "grpo"]), st.randoms())
def test_invariant_to_shift_equivariant_to_order(values, shift, scale, kind, rng):
    order = list(range(len(values)))
    rng.shuffle(order)
    rewards_PG = torch.tensor([values, [value + shift for value in values], [values[i] for i in order]])
    plain, shifted, permuted = group_advantages(rewards_PG, kind, scale=scale and max(values) - min(values) > 0.1)
    torch.testing.assert_close(plain, shifted, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(plain[order], permuted, atol=1e-4, rtol=1e-4)
