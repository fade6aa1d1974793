from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from small_training import config

from attnpo.errors import ConfigError
from attnpo.training.kl_cov import with_kl_cov


def test_the_gradient_is_that_of_the_published_loss():
    torch.manual_seed(0)
    logps = torch.randn(3, 5, dtype=torch.float64, requires_grad=True)
    old, advantages = torch.randn(3, 5, dtype=torch.float64), torch.tensor([1.0, -1.0, 0.5], dtype=torch.float64)
    mask = torch.ones(3, 5)
    mask[1, 3:] = 0
    inside = mask.bool()
    a = advantages[:, None].expand(3, 5)
    covariance = (a - a[inside].mean()) * (logps.detach() - logps.detach()[inside].mean())
    most = covariance[inside].topk(2).values.min()
    chosen = inside & (covariance >= most)

    ratio = (logps - old).exp()
    published = -ratio * a + torch.where(chosen, 0.7 * (logps - old).abs(), 0.0)
    (expected,) = torch.autograd.grad((published * mask).sum(), logps, retain_graph=True)
    held = with_kl_cov(advantages, logps.detach(), old, mask, share=2 / 13 + 1e-9, weight=0.7)
    (got,) = torch.autograd.grad((-ratio * held * mask).sum(), logps)
    torch.testing.assert_close(got, expected, atol=1e-6, rtol=1e-5)
    assert ((held != a) == chosen).all()


@settings(max_examples=25)
@given(st.lists(st.lists(st.floats(-3, 3, width=32), min_size=4, max_size=4), min_size=1, max_size=3), st.floats(0, 1))
def test_nothing_changes_while_the_policy_is_the_one_that_sampled(rows, share):
    logps = torch.tensor(rows)
    advantages = torch.linspace(-1, 1, len(rows))
    held = with_kl_cov(advantages, logps, logps, torch.ones_like(logps), share, 1.0)
    assert torch.equal(held, advantages[:, None].expand(-1, 4))


def test_at_least_one_token_and_none_of_padding():
    logps = torch.tensor([[0.0, -1.0, 9.0]])
    advantages, mask = torch.tensor([[1.0, -0.5, 9.0]]), torch.tensor([[1, 1, 0]])
    held = with_kl_cov(advantages, logps, torch.tensor([[-2.0, -3.0, 0.0]]), mask, 0.0, 1.0)
    # both covariances are 3/4 * 1/2, both log ratios 2
    changed = (advantages - held)[0].tolist()
    assert sorted(changed) == pytest.approx([0, 0, math.exp(-2)])
    assert changed[2] == 0
    empty = with_kl_cov(torch.ones(1), logps, logps, torch.zeros(1, 3), 0.5, 1.0)
    assert empty.tolist() == [[1, 1, 1]]


def several_updates(make_trainer, model, **settings):
    start = {name: value.clone() for name, value in model.state_dict().items()}
    trainer = make_trainer(
        method="grpo-std",
        heads=None,
        per_device_train_batch_size=4,
        gradient_accumulation_steps=1,
        steps_per_generation=2,
        max_completion_length=64,
        max_steps=2,
        epsilon=1e9,
        epsilon_high=1e9,
        **settings,
    )
    trainer.train()
    after = {name: value.clone() for name, value in model.state_dict().items()}
    model.load_state_dict(start)
    return after


def test_it_acts_with_several_updates_a_batch(make_trainer, model):
    plain = several_updates(make_trainer, model)
    off = several_updates(make_trainer, model, kl_cov_share=0.0)
    held = several_updates(make_trainer, model, kl_cov_share=0.5)
    assert all(torch.equal(plain[name], off[name]) for name in plain)
    assert any(not torch.equal(plain[name], held[name]) for name in plain)
    assert all(value.isfinite().all() for value in held.values())


@pytest.mark.parametrize("settings", [{"kl_cov_share": 1.5}, {"kl_cov_weight": -1}])
def test_values_out_of_range(tmp_path, settings):
    with pytest.raises(ConfigError, match=r"^kl_cov_\w+: .* is not allowed"):
        config(tmp_path, **settings)
