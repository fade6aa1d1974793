from __future__ import annotations

import inspect
import random
from typing import Any

import numpy as np
import pytest
import torch
from transformers import AutoConfig, AutoModelForCausalLM

from attnpo.labeling.causal import Variant, VariantScorer
from attnpo.labeling.causal import scorer as scorer_module

VOCABULARY = 61
ATOL = 2e-6  # some attention softmaxes and scans run in float32 whatever the model's numbers
SIZES: dict[str, Any] = {
    "vocab_size": VOCABULARY,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 8,
    "max_position_embeddings": 128,
    "initializer_range": 0.3,
    "pad_token_id": 0,
}
WINDOW = 7
ARCHITECTURES: dict[str, dict[str, Any]] = {
    "qwen2": {},
    "qwen3": {},
    "llama": {},
    "mistral": {"sliding_window": WINDOW},
    "gemma2": {
        "sliding_window": WINDOW,
        "query_pre_attn_scalar": 8,
        "attn_implementation": "eager",
        "layer_types": ["sliding_attention", "full_attention"],
    },
    "mixtral": {"num_local_experts": 3, "num_experts_per_tok": 2, "sliding_window": WINDOW},
    "gpt2": {"n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": 128},
}


def decoder(kind: str, **settings: Any) -> Any:
    torch.manual_seed(3)
    config = AutoConfig.for_model(kind, **{**SIZES, **ARCHITECTURES.get(kind, {}), **settings})
    model = AutoModelForCausalLM.from_config(config, dtype=torch.float64).eval()
    if kind == "mixtral":
        model.set_experts_implementation("eager")  # the grouped product knows no float64
    return model


def sequences(seed: int = 0) -> tuple[tuple[int, ...], list[Variant]]:
    """A sequence of prompt, steps and answer, and what is left of it without one, several, or its last steps."""
    rng = random.Random(seed)
    draw = lambda n: [rng.randrange(1, VOCABULARY) for _ in range(n)]  # noqa: E731
    prompt, steps, answer = draw(5), [draw(rng.randint(1, 9)) for _ in range(6)], draw(4)

    def without(deleted: set[int]) -> tuple[int, ...]:
        return (*prompt, *(i for k, step in enumerate(steps) if k not in deleted for i in step), *answer)

    cases = [{k} for k in range(6)] + [{0, 3}, {1, 2, 5}, {3, 4, 5}, set(range(6)), set()]
    variants = [Variant(without(case), 4) for case in cases]
    variants.append(Variant((*without({2})[:-4], *draw(7)), 7))  # longer scored part
    variants.append(Variant(without({1}), len(without({1})) - len(prompt) - 1))
    return without(set()), variants


@torch.no_grad()
def one_by_one(model: Any, ids: tuple[int, ...], scored: int) -> np.ndarray:
    logps = model(input_ids=torch.tensor([ids])).logits[0].double().log_softmax(-1)
    return np.array([float(logps[i - 1, ids[i]]) for i in range(len(ids) - scored, len(ids))])


@pytest.mark.parametrize("kind", ARCHITECTURES)
@pytest.mark.parametrize(("batch_tokens", "pass_tokens"), [(10_000, 20), (90, 0), (5, 10_000)])
def test_shared_prefixes_give_what_separate_passes_give(kind: str, batch_tokens: int, pass_tokens: int) -> None:
    model = decoder(kind)
    whole, variants = sequences()
    scorer = VariantScorer(model, batch_tokens=batch_tokens, pass_tokens=pass_tokens)
    prefix = scorer.open(whole, 9)
    found = scorer.score(prefix, variants)
    assert scorer.plain_because is None
    np.testing.assert_allclose(prefix.logprobs, one_by_one(model, whole, 9), atol=ATOL)
    for variant, row in zip(variants, found, strict=True):
        np.testing.assert_allclose(row, one_by_one(model, variant.ids, variant.scored), atol=ATOL)
    # The prefix serves again: nothing was written into it.
    again = scorer.score(prefix, variants[:3])
    for first, second in zip(found[:3], again, strict=True):
        np.testing.assert_allclose(first, second, atol=1e-12)


def test_sliding_windows_are_felt_in_the_test_above() -> None:
    # Otherwise it would prove nothing about them.
    whole, _ = sequences()
    wide, narrow = decoder("mistral", sliding_window=1000), decoder("mistral")
    difference = one_by_one(wide, whole, 4) - one_by_one(narrow, whole, 4)
    assert np.abs(difference).max() > 1e-2


def test_parts_of_long_rows_and_few_logits_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    model = decoder("qwen2")
    whole, variants = sequences(1)
    monkeypatch.setattr(scorer_module, "LOGITS_HELD", 3 * VOCABULARY)
    scorer = VariantScorer(model, batch_tokens=8)
    prefix = scorer.open(whole, len(whole) - 1)
    np.testing.assert_allclose(prefix.logprobs, one_by_one(model, whole, len(whole) - 1), atol=ATOL)
    for variant, row in zip(variants, scorer.score(prefix, variants), strict=True):
        np.testing.assert_allclose(row, one_by_one(model, variant.ids, variant.scored), atol=ATOL)


def test_cost_counts_what_was_run() -> None:
    model = decoder("qwen2")
    run: list[int] = []
    forward = model.forward

    def counting(*args: Any, **arguments: Any) -> Any:
        run.append(arguments["input_ids"].numel())
        return forward(*args, **arguments)

    counting.__signature__ = inspect.signature(forward)  # type: ignore[attr-defined]
    model.forward = counting
    whole, variants = sequences()
    scorer = VariantScorer(model, pass_tokens=5)
    scorer.score(scorer.open(whole, 4), variants)
    assert (scorer.cost.passes, scorer.cost.tokens) == (len(run), sum(run))
    assert scorer.cost.variants == 1 + len(variants)
    assert scorer.cost.plain_tokens == len(whole) + sum(len(v.ids) for v in variants)
    assert scorer.cost.tokens < scorer.cost.plain_tokens
    before = scorer.cost.plus(scorer_module.Cost())
    scorer.score(scorer.open(whole, 4), variants[:1])
    assert scorer.cost.plus(before, -1).variants == 2


@pytest.mark.parametrize(
    ("kind", "settings", "reason"),
    [
        ("mamba", {"state_size": 4}, "cache"),
        ("lfm2", {"layer_types": ["conv", "full_attention"]}, "layers of another kind"),
    ],
)
def test_other_caches_take_plain_passes_and_say_so(kind: str, settings: dict[str, Any], reason: str) -> None:
    model = decoder(kind, **settings)
    whole, variants = sequences()
    scorer = VariantScorer(model)
    assert reason in str(scorer.plain_because)
    prefix = scorer.open(whole, 4)
    np.testing.assert_allclose(prefix.logprobs, one_by_one(model, whole, 4), atol=ATOL)
    for variant, row in zip(variants, scorer.score(prefix, variants), strict=True):
        np.testing.assert_allclose(row, one_by_one(model, variant.ids, variant.scored), atol=ATOL)
    assert scorer.cost.tokens == scorer.cost.plain_tokens - scorer.cost.variants  # the last token is not run


def test_a_cache_that_does_not_serve_is_noticed(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    model = decoder("llama")
    cut = scorer_module._cut_to_rows

    def broken(layers: Any, kept: Any) -> Any:
        cache = cut(layers, kept)
        cache.layers[0].keys *= 0.5
        return cache

    monkeypatch.setattr(scorer_module, "_cut_to_rows", broken)
    whole, variants = sequences()
    scorer = VariantScorer(model)
    found = scorer.score(scorer.open(whole, 4), variants)
    assert "changes a token's log-probability" in str(scorer.plain_because)
    assert "each variant takes a pass of its own" in caplog.text
    for variant, row in zip(variants, found, strict=True):
        np.testing.assert_allclose(row, one_by_one(model, variant.ids, variant.scored), atol=ATOL)


def test_training_mode_is_given_back_and_dropout_is_off() -> None:
    model = decoder("llama", attention_dropout=0.5).train()
    whole, variants = sequences()
    scorer = VariantScorer(model)
    found = scorer.score(scorer.open(whole, 4), variants)
    assert model.training
    np.testing.assert_allclose(found[0], one_by_one(model.eval(), variants[0].ids, 4), atol=ATOL)
