"""A small transformer, all of whose responses can be enumerated: from sampled batches to the true inner products."""

from __future__ import annotations

import itertools

import enumerated
import numpy as np
import pytest
import torch

from attnpo.gradients import (
    Batch,
    Policy,
    Products,
    Store,
    credit_rows,
    fill,
    jackknife,
    method_credits,
    moments_of,
    parse_wanted,
    split_credits,
    wanted_credits,
)
from attnpo.gradients.passes import credit_gradients, response_log_probs
from attnpo.gradients.projection import flat

MOST, GROUP, BATCHES = 3, 4, 40
PAD = enumerated.END
PROMPTS = ((2, 1), (1, 0, 0))
RESPONSES = list(enumerated.all_responses(MOST))
CREDITS = [
    *wanted_credits(labelled=True),
    *method_credits([*parse_wanted("oracle", [0.2, 0.6])]),
    *split_credits(labelled=True, scored=False),
]
NAMES = [credit.name for credit in CREDITS]


@pytest.fixture(scope="module")
def model():
    return enumerated.small_transformer()


@pytest.fixture(scope="module")
def chances(model):
    """(prompts, responses) probabilities with a graph."""
    found = [response_log_probs(model, PAD, [p] * len(RESPONSES), RESPONSES).sum(dim=1).exp() for p in PROMPTS]
    return torch.stack(found)


@pytest.fixture(scope="module")
def draw(chances):
    """Batch by number, two problems of each prompt, sampled from the policy."""
    shares = (chances / chances.sum(dim=1, keepdim=True)).detach().double().numpy()
    shares /= shares.sum(axis=1, keepdims=True)

    def make(number: int) -> Batch:
        rng = np.random.default_rng(number)
        places = [(p, s) for p, s in itertools.product((0, 1, 0, 1), range(GROUP))]
        drawn = [RESPONSES[rng.choice(len(RESPONSES), p=shares[prompt])] for prompt, _ in places]
        rollouts = [enumerated.rollout(ids, f"p{row // GROUP}", row % GROUP) for row, ids in enumerate(drawn)]
        return Batch(rollouts, GROUP, number, prompt_ids=[PROMPTS[prompt] for prompt, _ in places])

    return make


@pytest.fixture(scope="module")
def policy(model):
    return Policy(model, list(model.parameters()), PAD, micro_batch=5)


@pytest.fixture(scope="module")
def products(draw, policy, tmp_path_factory) -> dict[str, Products]:
    store = Store(tmp_path_factory.mktemp("whole"), BATCHES, NAMES.index("tlmre 0.2"))
    fill(store, draw, CREDITS, policy)
    return store.products()


def test_estimates_are_the_true_inner_products_within_their_errors(chances, policy, products):
    assert chances.sum(dim=1).detach().numpy() == pytest.approx(1, abs=1e-5)
    true = {}
    for name, value in enumerated.WANTED.items():
        values = torch.tensor([value(ids) for ids in RESPONSES])
        found = torch.autograd.grad((chances * values).sum(dim=1).mean(), policy.parameters, retain_graph=True)
        true[name] = flat(found, policy.parameters).double()
    between = products["plain"].moments().between_SMM
    far = []
    for first, second in itertools.combinations_with_replacement(true, 2):
        estimate = jackknife(between[:, NAMES.index(first), NAMES.index(second)])
        wanted = float(true[first] @ true[second])
        far.append(abs(estimate.value - wanted) / estimate.error)
        assert estimate.error < 0.5 * float(true[first].norm() * true[second].norm())
    assert max(far) < 3.5
    assert np.mean(far) < 1.6


def test_curves_cost_no_pass_and_lie_in_their_plane(products):
    rows = {row.name: row for row in credit_rows(moments_of(products), CREDITS)}
    for metric in ("plain", "adam"):
        assert rows["tlmre 0.6"].measures[metric]["outside"].value == pytest.approx(0, abs=1e-5)
        assert rows["accuracy"].measures[metric]["signal_to_noise_ratio"].value == pytest.approx(1)
        assert rows["accuracy"].cosines[metric]["accuracy"].value == pytest.approx(1)
    moments = products["plain"].moments().between_SMM[0]
    strong, verdict, term = (NAMES.index(name) for name in ("tlmre 0.6", "accuracy", "length term"))
    assert np.allclose(moments[strong], moments[verdict] + 0.6 * moments[term], atol=1e-6)


def test_parts_of_one_forward_pass_are_the_plain_gradients(draw, model, policy):
    batch, credits = draw(0), CREDITS[:3]
    advantages = torch.stack([credit.advantages(batch).double() * batch.inside_BT for credit in credits])
    found = [torch.zeros(policy.size) for _ in credits]

    def log_probs(rows):
        responses = [batch.rollouts[row].response_ids for row in rows]
        return response_log_probs(model, PAD, [batch.prompt_ids[row] for row in rows], responses, 0.7)

    sizes = [r.n_tokens for r in batch.rollouts]
    credit_gradients(log_probs, sizes, policy.parameters, advantages, 3, lambda r, part: found[r].add_(part))
    for rows, part in zip(advantages, found, strict=True):
        loss = 0.0
        for number, (rollout, prompt) in enumerate(zip(batch.rollouts, batch.prompt_ids, strict=True)):
            ids = torch.tensor([[*prompt, *rollout.response_ids]])
            logits = model(input_ids=ids).logits[0, len(prompt) - 1 : -1] / 0.7
            picked = logits.log_softmax(dim=1)[range(rollout.n_tokens), list(rollout.response_ids)]
            loss = loss + (picked * rows[number, : rollout.n_tokens]).sum() / len(batch.rollouts)
        wanted = flat(torch.autograd.grad(loss, policy.parameters), policy.parameters)
        assert torch.allclose(part, wanted, atol=1e-5)


class Killed(Exception):
    """Stands for a kill."""


@pytest.mark.parametrize("sketch", [None, 64])
def test_a_killed_run_goes_on_to_the_same_figures(draw, policy, tmp_path, sketch):
    def interrupted(number: int) -> Batch:
        if number == 2:
            raise Killed
        return draw(number)

    whole = Store(tmp_path / "whole", 6, NAMES.index("tlmre 0.2"))
    parts = Store(tmp_path / "parts", 6, NAMES.index("tlmre 0.2"))
    for store in (whole, parts):
        store.claim({})
    fill(whole, draw, CREDITS, policy, sketch)
    with pytest.raises(Killed):
        fill(parts, interrupted, CREDITS, policy, sketch)
    asked = []
    fill(parts, lambda number: asked.append(number) or draw(number), CREDITS, policy, sketch)
    assert 2 in asked
    assert asked.count(0) == (0 if sketch is None else 1)
    for metric, found in whole.products().items():
        assert np.array_equal(found.within_BMM, parts.products()[metric].within_BMM)
        assert np.array_equal(found.with_sum_BMM, parts.products()[metric].with_sum_BMM)


def test_a_wide_sketch_keeps_both_metrics(draw, policy, tmp_path):
    exact = Store(tmp_path / "exact", 6, NAMES.index("tlmre 0.2"))
    sketched = Store(tmp_path / "sketched", 6, NAMES.index("tlmre 0.2"))
    for store, sketch in ((exact, None), (sketched, 2 * policy.size)):
        store.claim({})
        fill(store, draw, CREDITS, policy, sketch)
    for metric, found in exact.products().items():
        scale = np.abs(found.with_sum_BMM).max()
        assert np.allclose(found.with_sum_BMM, sketched.products()[metric].with_sum_BMM, atol=1e-4 * scale)
    for store in (exact, sketched):
        store.keep_products(store.products())
        assert {file.name for file in store.folder.iterdir()} == {"products.safetensors", "settings.json"}


def test_sums_of_squares_take_room_until_they_are_complete(tmp_path):
    store = Store(tmp_path, 6, 0)
    assert store.moments_bytes(100) == 1600  # the old file and the new one, two numbers of four bytes a parameter each
    for batches, more in ((1, 800), (5, 800), (6, 0)):
        store.keep_moments(batches, torch.zeros(2, 100))
        assert store.moments_bytes(100) == more
