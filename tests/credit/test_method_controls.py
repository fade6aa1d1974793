"""Controls that hold the strength of AttnPO fixed: its mean factor everywhere, its attenuation on random steps."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from attnpo.credit import build_method
from attnpo.credit.methods.attnpo_random_steps import move_attenuation


def taken(gamma, steps):
    tokens = torch.where(steps.owned_BK, steps.step_lengths_BK, 0)
    return ((1 - gamma) * tokens).sum(dim=1).tolist(), (tokens * (gamma < 1)).sum(dim=1).tolist()


def test_the_mean_factor_by_hand(make_steps):
    # p = 1/2, |F| / |o| = 1/8, S_base = 1/32. Half of it: gamma = (1/4) (1/2) + 3/4 = 7/8 for 24 of 128 tokens
    steps = make_steps([[1 / 64, 1 / 8]] * 2, step_lengths=[[24, 8]] * 2, advantage=[2.0, -2.0])
    method = build_method("attnpo_mean_gamma")
    gamma = method.gamma(steps)
    assert gamma[0].tolist() == pytest.approx([1 - 24 / 8 / 128] * 2)
    assert gamma[1].tolist() == pytest.approx([1 - 8 / 128] * 2)  # NA: the second step loses all of its 8 tokens
    index = torch.tensor([[0, 0, 1, -1]] * 2)
    advantages = method.spread(steps, gamma, index)
    assert advantages[0].tolist() == pytest.approx([2 * (1 - 3 / 128)] * 4)
    assert advantages[1].tolist() == pytest.approx([-2 * (1 - 8 / 128)] * 4)


def test_the_mean_factor_leaves_a_response_as_much_as_attnpo(make_steps):
    steps = make_steps([[0.0, 0.2, 0.01]], step_lengths=[[2, 3, 4]], response=12, answer=2, advantage=1.0)
    index = torch.tensor([[-1, 0, 0, 1, 1, 1, 2, 2, 2, 2, -1, -1]])
    sums = []
    for name in ("attnpo", "attnpo_mean_gamma"):
        method = build_method(name)
        sums.append(method.spread(steps, method.gamma(steps), index).sum().item())
    assert sums[0] == pytest.approx(sums[1])
    assert sums[0] < 12


def test_responses_without_steps_keep_their_advantage(make_steps):
    steps = make_steps([[], [0.0, 0.2]])
    for name in ("attnpo_mean_gamma", "attnpo_random_steps"):
        assert build_method(name).gamma(steps)[0].tolist() == [1, 1]


def test_attenuation_moved_by_hand(make_steps):
    # 6 tokens lost a half and 2 all: 8 tokens lose 5 / 8 each, wherever they are
    steps = make_steps([[0.0] * 4], step_lengths=[[6, 2, 8, 3]], row_ids=[5])
    gamma = torch.tensor([[0.5, 0.0, 1.0, 1.0]])
    found = {tuple(round(v, 4) for v in move_attenuation(gamma, steps, seed)[0].tolist()) for seed in range(60)}
    assert (1, 1, 0.375, 1) in found  # the third step alone has 8 tokens
    assert (1, 1, round(1 - 0.625 * 5 / 8, 4), 0.375) in found  # the fourth whole, 5 of the third's 8
    assert len(found) > 5


@given(
    st.lists(st.tuples(st.floats(0, 1, width=32), st.integers(0, 9)), min_size=1, max_size=6),
    st.integers(0, 99),
    st.integers(0, 99),
)
def test_as_many_tokens_lose_as_much(make_steps, rows, seed, row_id):
    steps = make_steps([[0.0] * len(rows)], step_lengths=[[n for _, n in rows]], row_ids=[row_id])
    gamma = torch.tensor([[g for g, _ in rows]])
    moved = move_attenuation(gamma, steps, seed)
    assert ((moved >= -1e-6) & (moved <= 1)).all()
    (mass, touched), (mass_moved, touched_moved) = taken(gamma, steps), taken(moved, steps)
    assert mass_moved == pytest.approx(mass, abs=1e-4)
    longest = max(n for _, n in rows)
    assert touched_moved[0] <= touched[0] + longest  # the last step counts in part
    # Neither padding nor the row's place decides.
    wider = make_steps([[0.0], [0.0] * len(rows)], step_lengths=[[3], [n for _, n in rows]], row_ids=[7, row_id])
    again = move_attenuation(torch.cat([torch.ones_like(gamma), gamma]), wider, seed)[1]
    assert torch.equal(again, moved[0])


def test_steps_are_drawn_alike_often(make_steps):
    steps = make_steps([[0.0] * 4] * 800, step_lengths=[[5] * 4] * 800)
    gamma = torch.tensor([[0.2, 1.0, 1.0, 1.0]]).expand(800, 4)
    often = (move_attenuation(gamma, steps, 0) < 1).float().mean(dim=0)
    assert often.tolist() == pytest.approx([0.25] * 4, abs=0.06)
