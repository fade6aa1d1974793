"""Over all groups of an enumerated policy a credit's expected gradient is exactly that of what it is named after."""

from __future__ import annotations

import itertools
import math

import enumerated
import pytest
import torch

from attnpo.credit import build_method
from attnpo.errors import DataError
from attnpo.gradients import Batch, split_credits, wanted_credits
from attnpo.gradients.credits import token_advantages

NAMED = {
    **{name: name for name in enumerated.WANTED},
    "length still to come": "length",
    "redundant tokens still to come": "redundant tokens",
}


class Table:
    """A softmax policy with free logits behind every prefix."""

    def __init__(self, most: int):
        self.responses = list(enumerated.all_responses(most))
        prefixes = {ids[:place] for ids in self.responses for place in range(len(ids))}
        self.place = {prefix: row for row, prefix in enumerate(sorted(prefixes))}
        generator = torch.Generator().manual_seed(most)
        self.logits = torch.randn(len(prefixes), 3, dtype=torch.float64, generator=generator, requires_grad=True)

    def log_probs(self, ids: tuple[int, ...]) -> torch.Tensor:
        table = self.logits.log_softmax(dim=1)
        return torch.stack([table[self.place[ids[:place]], token] for place, token in enumerate(ids)])


@pytest.mark.parametrize(("most", "size"), [(3, 2), (2, 3)])
def test_expected_gradient_over_all_groups(most, size):
    policy = Table(most)
    log_probs = {ids: policy.log_probs(ids) for ids in policy.responses}
    assert sum(math.exp(values.sum().item()) for values in log_probs.values()) == pytest.approx(1)
    groups = list(itertools.product(policy.responses, repeat=size))
    batch = Batch([enumerated.rollout(ids) for group in groups for ids in group], size)
    credits = [*wanted_credits(labelled=True), *split_credits(labelled=True, scored=False)]
    advantages = dict(zip([c.name for c in credits], token_advantages(credits, batch), strict=True))
    chances = [math.exp(sum(log_probs[ids].sum().item() for ids in group)) for group in groups]
    for credit, wanted in NAMED.items():
        surrogate = sum(
            chance / size * (advantages[credit][row, : len(ids)] * log_probs[ids]).sum()
            for number, (group, chance) in enumerate(zip(groups, chances, strict=True))
            for row, ids in enumerate(group, start=number * size)
        )
        (found,) = torch.autograd.grad(surrogate, policy.logits, retain_graph=True)
        value = enumerated.WANTED[wanted]
        expectation = sum(values.sum().exp() * value(ids) for ids, values in log_probs.items())
        (true,) = torch.autograd.grad(expectation, policy.logits, retain_graph=True)
        assert true.abs().max() > 0.01
        assert torch.allclose(found, true, atol=1e-7), credit


def test_what_is_still_to_come_is_less_noisy():
    """E|g|^2 over all groups; the means are the same, so that what differs is noise."""
    policy = Table(3)
    groups = list(itertools.product(policy.responses, repeat=2))
    batch = Batch([enumerated.rollout(ids) for group in groups for ids in group], 2)
    credits = {c.name: c for c in (*wanted_credits(True), *split_credits(True, False))}
    names = ("length", "length still to come", "redundant tokens", "redundant tokens still to come")
    advantages = token_advantages([credits[name] for name in names], batch)
    log_probs = {ids: policy.log_probs(ids) for ids in policy.responses}
    squares = dict.fromkeys(names, 0.0)
    for number, group in enumerate(groups):
        chance = math.exp(sum(log_probs[ids].sum().item() for ids in group))
        for name, advantages_BT in zip(names, advantages, strict=True):
            rows = zip(advantages_BT[2 * number : 2 * number + 2], group, strict=True)
            surrogate = sum((row[: len(ids)] * log_probs[ids]).sum() / 2 for row, ids in rows)
            (found,) = torch.autograd.grad(surrogate, policy.logits, retain_graph=True)
            squares[name] += chance * found.square().sum().item()
    for name in ("length", "redundant tokens"):
        assert squares[f"{name} still to come"] < 0.95 * squares[name]


@pytest.mark.parametrize("limit", [1, 2, 3])
def test_truncation_is_the_gradient_of_a_run_that_stops_there(limit):
    """ThinkPrune's reward with RLOO on responses that are cut after the fact: of E 1[right, ended within the limit]."""
    policy = Table(3)
    log_probs = {ids: policy.log_probs(ids) for ids in policy.responses}
    groups = list(itertools.product(policy.responses, repeat=2))
    rollouts = [enumerated.rollout(ids) for group in groups for ids in group]
    calls = []

    def shortened(rollouts, lengths, labelled):
        calls.append((set(lengths), labelled))
        return [enumerated.rollout(r.response_ids[:length]) for r, length in zip(rollouts, lengths, strict=True)]

    batch = Batch(rollouts, 2, max_length=3, cut=shortened)
    method = build_method("thinkprune", {"limits": [limit], "advantage": "rloo", "scale_advantages": False})
    advantages_BT = batch.advantages(method)
    assert calls == ([({limit}, False)] if limit < 3 else [])  # all of them at once
    assert advantages_BT.shape == batch.inside_BT.shape
    assert not advantages_BT[:, limit:].any()
    surrogate = sum(
        math.exp(sum(log_probs[ids].sum().item() for ids in group))
        / 2
        * (advantages_BT[row, : len(ids)] * log_probs[ids]).sum()
        for number, group in enumerate(groups)
        for row, ids in enumerate(group, start=2 * number)
    )
    (found,) = torch.autograd.grad(surrogate, policy.logits, retain_graph=True)

    def value(ids):
        return float(enumerated.WANTED["accuracy"](ids) and len(ids) <= limit and ids[-1] == enumerated.END)

    expectation = sum(values.sum().exp() * value(ids) for ids, values in log_probs.items())
    (true,) = torch.autograd.grad(expectation, policy.logits, retain_graph=True)
    assert (true.abs().max() > 0.01) == (limit > 1)  # nobody is right and at an end within one token
    assert torch.allclose(found, true, atol=1e-7)


@pytest.mark.parametrize("name", ["thinkprune", "dot"])
def test_where_nothing_cuts_it_is_said(name):
    batch = Batch([enumerated.rollout((0, 1, 2)), enumerated.rollout((1, 2))], 2)
    method = build_method(name, {"limits": [1]} if name == "thinkprune" else {})
    with pytest.raises(DataError, match=f"method {name}: cuts responses"):
        batch.advantages(method)
