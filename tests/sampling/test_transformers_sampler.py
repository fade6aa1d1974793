from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import (
    DynamicCache,
    Gemma3ForCausalLM,
    Gemma3TextConfig,
    MistralConfig,
    MistralForCausalLM,
    Qwen2Config,
    Qwen2ForCausalLM,
)

from attnpo.errors import ConfigError
from attnpo.sampling import SamplingParams, TransformersSampler
from attnpo.sampling.cache import growing_cache
from attnpo.sampling.draws import draw_tokens, uniform_streams

SIZES = {
    "vocab_size": 40,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 8,
    "max_position_embeddings": 256,
    "pad_token_id": 0,
    "eos_token_id": 1,
    "bos_token_id": 2,
    "initializer_range": 0.4,
}
PROMPTS = [[5, 6, 7], [8, 9, 10, 11, 12, 13], [14], [5, 6, 7, 8]]


class Tokenizer:
    pad_token_id = 0
    eos_token_id = 1


def build(name: str):
    torch.manual_seed(0)
    made = {
        "qwen2": lambda: Qwen2ForCausalLM(Qwen2Config(**{k: v for k, v in SIZES.items() if k != "head_dim"})),
        "mistral": lambda: MistralForCausalLM(MistralConfig(**SIZES, sliding_window=5)),
        "gemma3": lambda: Gemma3ForCausalLM(Gemma3TextConfig(**SIZES, sliding_window=5)),
    }[name]()
    return made.eval()


@pytest.fixture(scope="module", params=["qwen2", "mistral", "gemma3"])
def model(request):
    return build(request.param)


def one_by_one(model, prompt, key, sample, params):
    """The slow way: no cache, no batch, no padding; the same stream of uniform numbers."""
    uniforms = uniform_streams(params.seed, [key], [sample], params.max_new_tokens)[0]
    ids = list(prompt)
    for step in range(params.max_new_tokens):
        with torch.no_grad():
            logits = model(input_ids=torch.tensor([ids]), use_cache=False).logits[0, -1:].float()
        if params.temperature == 0:
            token = int(logits.argmax())
        else:
            token = int(draw_tokens(logits / params.temperature, uniforms[step : step + 1]))
        ids.append(token)
        if token == 1:
            return ids[len(prompt) :], True
    return ids[len(prompt) :], False


@pytest.mark.parametrize("temperature", [0.0, 0.7, 1.0])
def test_equals_sampling_one_by_one_without_a_cache(model, temperature):
    params = SamplingParams(max_new_tokens=24, temperature=temperature, seed=3)
    found = dict(TransformersSampler(model, Tokenizer(), rows=6).sample(PROMPTS, 3, params))
    for index, prompt in enumerate(PROMPTS):
        for sample, response in enumerate(found[index]):
            assert (response.ids, response.finished) == one_by_one(model, prompt, index, sample, params)


def test_batching_does_not_change_a_response(model):
    params = SamplingParams(max_new_tokens=16, seed=1)
    whole = dict(TransformersSampler(model, Tokenizer(), rows=64).sample(PROMPTS, 2, params))
    single = dict(TransformersSampler(model, Tokenizer(), rows=1).sample(PROMPTS, 2, params))
    assert whole == single
    alone = dict(TransformersSampler(model, Tokenizer()).sample(PROMPTS[2:3], 2, params, keys=[2]))
    assert alone[0] == whole[2]


def test_decodes_with_another_attention_and_puts_the_models_own_back():
    model = build("qwen2")
    params = SamplingParams(16, seed=1)
    plain = dict(TransformersSampler(model, Tokenizer()).sample(PROMPTS, 2, params))
    other = dict(TransformersSampler(model, Tokenizer(), attn_implementation="eager").sample(PROMPTS, 2, params))
    assert other == plain
    assert model.config._attn_implementation == "sdpa"


def test_seeds_and_samples_differ():
    sampler = TransformersSampler(build("qwen2"), Tokenizer())
    first = dict(sampler.sample(PROMPTS, 4, SamplingParams(20, seed=0)))
    second = dict(sampler.sample(PROMPTS, 4, SamplingParams(20, seed=1)))
    assert first != second
    assert len({tuple(r.ids) for r in first[0]}) > 1
    assert {r.finished for group in first.values() for r in group} == {True, False}


def test_top_k_and_top_p_keep_to_the_likely_tokens():
    model = build("qwen2")
    greedy = dict(TransformersSampler(model, Tokenizer()).sample(PROMPTS, 2, SamplingParams(12, temperature=0)))
    for params in (SamplingParams(12, top_k=1), SamplingParams(12, top_p=1e-6)):
        assert dict(TransformersSampler(model, Tokenizer()).sample(PROMPTS, 2, params)) == greedy


def test_draws_follow_the_distribution():
    logits = torch.tensor([[0.0, 1.0, -torch.inf, 2.0]])
    uniforms = torch.linspace(0, 1, 20_001, dtype=torch.float64)[:-1]
    tokens = draw_tokens(logits.expand(20_000, -1), uniforms)
    shares = torch.bincount(tokens, minlength=4) / 20_000
    torch.testing.assert_close(shares, logits.softmax(-1)[0], atol=1e-4, rtol=0)
    assert shares[2] == 0


@settings(max_examples=25, deadline=None)
@given(st.lists(st.integers(1, 90), min_size=1, max_size=6), st.integers(0, 3))
def test_growing_cache_holds_what_the_plain_one_holds(lengths, seed):
    config = build("qwen2").config
    plain, growing = DynamicCache(config=config), growing_cache(config)
    generator = torch.Generator().manual_seed(seed)
    rows = 4
    for number, length in enumerate(lengths):
        keys = torch.randn(rows, 2, length, 8, generator=generator)
        for layer in range(2):
            expected = plain.update(keys + layer, keys - layer, layer)
            found = growing.update(keys + layer, keys - layer, layer)
            assert torch.equal(found[0], expected[0])
            assert torch.equal(found[1], expected[1])
        if number % 2 and rows > 1:
            keep = torch.randperm(rows, generator=generator)[: rows - 1]
            plain.batch_select_indices(keep)
            growing.batch_select_indices(keep)
            rows -= 1
        assert growing.get_seq_length() == plain.get_seq_length()


@pytest.mark.parametrize(
    "settings",
    [{"max_new_tokens": 0}, {"temperature": -1.0}, {"top_p": 0.0}, {"top_p": 1.5}, {"top_k": -1}],
    ids=lambda s: next(iter(s)),
)
def test_params_out_of_range(settings):
    with pytest.raises(ConfigError, match=next(iter(settings))):
        SamplingParams(**{"max_new_tokens": 8, **settings})
