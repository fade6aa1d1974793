"""Noise by bins of problems: parts of sampled batches against every group that a small policy can draw."""

from __future__ import annotations

import itertools
from dataclasses import replace

import enumerated
import numpy as np
import pytest
import torch

from attnpo.errors import ConfigError
from attnpo.gradients import (
    Batch,
    Binning,
    GradientsResult,
    Policy,
    Products,
    Store,
    bin_name,
    credit_rows,
    fill,
    method_credits,
    moments_of,
    parse_wanted,
    split_credits,
    wanted_credits,
)
from attnpo.gradients.bins import noise_measures, redundant_share
from attnpo.gradients.credits import token_advantages
from attnpo.gradients.passes import response_log_probs
from attnpo.gradients.projection import flat
from attnpo.reporting.gradient_bins import bins_markdown, bins_table, over_reference_tables

MOST, GROUP, PROBLEMS, BATCHES = 3, 3, 4, 60
PROMPTS = ((2, 1), (1, 0, 0))
RESPONSES = list(enumerated.all_responses(MOST))
GROUPS = list(itertools.product(range(len(RESPONSES)), repeat=GROUP))
CREDITS = [
    *wanted_credits(labelled=True),
    *method_credits([*parse_wanted("oracle", [0.2])]),
    *split_credits(labelled=True, scored=False),
]
NAMES = [credit.name for credit in CREDITS]
TOLD = ["accuracy", "length", "tlmre 0.2", "oracle 0.2", "length still to come", "accuracy, steps by oracle"]


@pytest.fixture(scope="module")
def model():
    return enumerated.small_transformer()


@pytest.fixture(scope="module")
def policy(model):
    return Policy(model, list(model.parameters()), enumerated.END, micro_batch=5)


@pytest.fixture(scope="module")
def shares(model):
    """(prompts, responses) probabilities."""
    with torch.no_grad():
        found = [
            response_log_probs(model, enumerated.END, [prompt] * len(RESPONSES), RESPONSES).sum(dim=1).exp()
            for prompt in PROMPTS
        ]
    shares = torch.stack(found).double().numpy()
    return shares / shares.sum(axis=1, keepdims=True)


def batch_of(groups, prompts, number=0):
    """Groups of responses by number; the bin of a problem is its prompt."""
    rollouts = [
        enumerated.rollout(RESPONSES[response], f"p{p}", sample)
        for p, group in enumerate(groups)
        for sample, response in enumerate(group)
    ]
    rows = [prompt for prompt in prompts for _ in range(GROUP)]
    return Batch(rollouts, GROUP, number, prompt_ids=[PROMPTS[row] for row in rows], bins=rows)


@pytest.fixture(scope="module")
def drawn(shares):
    """Batch by number: four problems, each of either prompt by chance."""

    def make(number: int) -> Batch:
        rng = np.random.default_rng(number)
        prompts = [int(rng.random() < 0.4) for _ in range(PROBLEMS)]
        return batch_of([rng.choice(len(RESPONSES), GROUP, p=shares[prompt]) for prompt in prompts], prompts, number)

    return make


def held(drawn, prompt):
    return np.array([np.mean([row == prompt for row in drawn(number).bins]) for number in range(BATCHES)])


def products(drawn, policy, folder, parts, sketch=None) -> dict[str, Products]:
    store = Store(folder, BATCHES, NAMES.index("tlmre 0.2"), parts)
    store.claim({})
    fill(store, drawn, CREDITS, policy, sketch)
    found = store.products()
    store.keep_products(found)
    assert {file.name for file in folder.iterdir()} == {"products.safetensors", "settings.json"}
    kept = store.kept_products()
    assert kept.keys() == found.keys()
    return kept


@pytest.fixture(scope="module")
def binned(drawn, policy, tmp_path_factory):
    return products(drawn, policy, tmp_path_factory.mktemp("binned"), 2)


@pytest.fixture(scope="module")
def true(policy, shares):
    """Prompt → credit → square of the mean gradient and noise, of batches of its problems, over every group."""
    found = []
    for number, prompt in enumerate(PROMPTS):
        paths = [response_log_probs(policy.model, enumerated.END, [prompt], [ids])[0] for ids in RESPONSES]
        tokens = [
            [flat(torch.autograd.grad(one, policy.parameters, retain_graph=True), policy.parameters) for one in path]
            for path in paths
        ]
        places = np.cumsum([0, *map(len, tokens)])
        inner = torch.stack([gradient for path in tokens for gradient in path]).double()
        inner = (inner @ inner.T).numpy()
        chances = np.prod(shares[number][np.array(GROUPS)], axis=1)
        told = [CREDITS[NAMES.index(name)] for name in TOLD]
        advantages = token_advantages(told, batch_of(GROUPS, [number] * len(GROUPS))).numpy()
        weights = np.zeros((len(TOLD), len(GROUPS), places[-1]))
        for row, response in enumerate(itertools.chain.from_iterable(GROUPS)):
            own = slice(places[response], places[response + 1])
            weights[:, row // GROUP, own] += advantages[:, row, : own.stop - own.start] / GROUP
        mean = np.einsum("p,mpt->mt", chances, weights)
        square = np.einsum("mt,tu,mu->m", mean, inner, mean)
        all_squares = np.einsum("p,mpt,mpt->m", chances, weights @ inner, weights)
        found.append(dict(zip(TOLD, zip(square, (all_squares - square) / PROBLEMS, strict=True), strict=True)))
    return found


def test_a_bin_has_the_signal_and_the_noise_of_its_own_problems(binned, drawn, true):
    far, unlike = [], []
    for prompt, wanted in enumerate(true):
        moments = moments_of(binned, bin_name(prompt), held(drawn, prompt))
        measured = noise_measures(moments["plain"], CREDITS)
        for name, (square, noise) in wanted.items():
            known = measured[name]
            far.append((known["noise"].value - noise) / known["noise"].error)
            far.append((known["signal_to_noise"].value - square / noise) / known["signal_to_noise"].error)
            beside = wanted[CREDITS[NAMES.index(name)].beside]
            ratio = known["noise_ratio"]
            if ratio.error > 1e-9:
                far.append((ratio.value - noise / beside[1]) / ratio.error)
            unlike.append(noise)
    assert np.abs(far).max() < 3.5
    assert np.abs(far).mean() < 1.3
    assert max(unlike) > 2 * min(unlike)


@pytest.mark.parametrize("sketch", [None, 64])
def test_all_bins_together_are_the_whole(drawn, policy, binned, tmp_path, sketch):
    whole = products(drawn, policy, tmp_path / "whole", 1, sketch)
    parts = binned if sketch is None else products(drawn, policy, tmp_path / "parts", 2, sketch)
    for metric, found in whole.items():
        scale = np.abs(found.with_sum_BMM).max()
        assert np.allclose(found.with_sum_BMM, parts[metric].with_sum_BMM, atol=1e-5 * scale)
        assert np.allclose(found.within_BMM, parts[metric].within_BMM, atol=1e-5 * scale)


def test_inner_products_of_a_bin_are_those_of_its_responses_alone(drawn, policy, binned):
    for prompt in (0, 1):
        rows = []
        for number in range(8):
            batch = drawn(number)
            own = token_advantages(CREDITS, batch) * (torch.tensor(batch.bins) == prompt)[:, None]
            found = [torch.zeros(policy.size) for _ in CREDITS]
            policy.gradients(batch, own, lambda r, part, found=found: found[r].add_(part))
            rows.append(torch.stack(found).double().numpy())
        for number, row in enumerate(rows):
            assert np.allclose(binned[f"bin {prompt}/plain"].within_BMM[number], row @ row.T, atol=1e-5)
        assert f"bin {prompt}/adam/1" in binned


def test_problems_are_binned_by_the_share_of_all_their_responses():
    groups = [[(0, 0, 2), (1, 2)], [(1, 2), (2,)], [(0, 2), (0, 1, 1, 2)], [(2,), (2,)]]
    rollouts = [enumerated.rollout(ids, f"p{p}", s) for p, group in enumerate(groups) for s, ids in enumerate(group)]
    assert [redundant_share(rollouts[2 * p : 2 * p + 2]) for p in range(4)] == [pytest.approx(2 / 3), 0, 0.5, 0]
    binning = Binning.of(rollouts, 2, 2)
    assert binning.bin_of_P == (1, 0, 1, 0)
    assert binning.of_responses(2, 4) == (0, 0, 1, 1)
    assert binning.shares(1, 2).tolist() == [0.5, 0.5]
    unlabelled = replace(rollouts[0], steps=tuple(replace(step, label=None) for step in rollouts[0].steps))
    assert redundant_share([unlabelled]) == 0
    assert [Binning.of(rollouts[:6], 2, 2).bin_of_P.count(n) for n in (0, 1)] == [2, 1]


@pytest.mark.parametrize(
    ("shares", "bins", "said"),
    [
        ("000123", 3, "3 of 6 problems have the redundant share 0, .* part them; give fewer bins: --redundancy_bins 2"),
        ("003333", 3, r"4 of 6 problems have the redundant share 0\.75, .*, as fewer bins would; leave it out"),
        ("000012", 2, "4 of 6 problems have the redundant share 0, .*, as fewer bins would; leave it out"),
    ],
)
def test_bins_that_would_part_problems_of_one_share_are_refused(monkeypatch, shares, bins, said):
    monkeypatch.setattr("attnpo.gradients.bins.redundant_share", lambda group: int(group[0]) / 4)
    with pytest.raises(ConfigError, match=f"^--redundancy_bins {bins}: {said}$"):
        Binning.of(shares, 1, bins)
    assert Binning.of("001122", 1, 3).bin_of_P == (0, 0, 1, 1, 2, 2)


def test_tables(binned, drawn, tmp_path):
    batches = [drawn(number) for number in range(BATCHES)]
    rollouts = [r for batch in batches for r in batch.rollouts]
    bin_of_P = tuple(row for batch in batches for row in batch.bins[::GROUP])
    binning = Binning(rollouts, GROUP, bin_of_P, 2)
    bins = [
        binning.described(prompt, moments_of(binned, bin_name(prompt), held(drawn, prompt)), CREDITS)
        for prompt in (0, 1)
    ]
    assert [own.problems for own in bins] == [bin_of_P.count(prompt) for prompt in (0, 1)]
    assert all(own.low <= own.share <= own.high for own in bins)
    known = {"model": "m", "source": "d", "batches": BATCHES, "problems_per_batch": 4, "group_size": 3, "accuracy": 0.5}
    more = {"tokens": 2.0, "parameters": 9, "sketch": None, "heads": [], "progress_step": 0, "left_out": {}}
    result = GradientsResult(**known, **more, rows=credit_rows(moments_of(binned), CREDITS), redundancy_bins=bins)
    result.save(tmp_path / "gradients.json")
    assert GradientsResult.load(tmp_path / "gradients.json") == result
    all_noise, on_accuracy, on_length = (
        [row.head for row in t.rows] for t in over_reference_tables(result, "plain", "P")
    )
    assert {"oracle 0.2", "length still to come", "accuracy, steps by oracle"} <= set(all_noise)
    assert "accuracy" not in all_noise
    assert "length still to come" not in on_accuracy
    assert "accuracy, steps by oracle" not in on_length
    assert len(bins_table(result).rows) == 2
    text = bins_markdown(result, {"plain": "Plain", "adam": "Adam"})
    assert "### Adam: signal/noise over reference, by redundant share" in text
    known = bins[1].measures["adam"]["oracle 0.2"]["signal_to_noise_ratio"]
    assert f"| {known.said(2)} |" in text
