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
from attnpo.sampling import SampleRequest, SamplingParams, TransformersSampler
from attnpo.sampling.cache import append_rows, can_append, drop_first, growing_cache
from attnpo.sampling.draws import draw_tokens, uniform_stream

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
    uniforms = torch.from_numpy(uniform_stream(params.seed, key, sample, params.max_new_tokens))
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


def requests(prompts=PROMPTS, n=3, keys=None):
    keys = range(len(prompts)) if keys is None else keys
    return [SampleRequest("", tuple(p), key, j) for key, p in zip(keys, prompts, strict=True) for j in range(n)]


def sample(model, asked, params, **settings):
    """Responses by (key, sample)."""
    sampler = TransformersSampler(model, Tokenizer(), **settings)
    found = dict(sampler.sample(asked, params))
    assert sorted(found) == list(range(len(asked)))
    return {(asked[i].key, asked[i].sample): response for i, response in found.items()}


@pytest.mark.parametrize("temperature", [0.0, 0.7])
def test_equals_sampling_one_by_one_without_a_cache(model, temperature):
    params = SamplingParams(max_new_tokens=16, temperature=temperature, seed=3)
    expected = {(r.key, r.sample): one_by_one(model, r.prompt_ids, r.key, r.sample, params) for r in requests()}
    for changes in ({"rows": 6}, {"rows": 5, "refill_below": 1.0}):
        found = sample(model, requests(), params, **changes)
        assert {which: (response.ids, response.finished) for which, response in found.items()} == expected


@pytest.mark.parametrize(
    "settings",
    [
        {"rows": 1},
        {"rows": 3, "refill_below": 1.0, "compact_below": 1.0},
        {"rows": 4, "refill_below": 0.5},
        {"cache_tokens": 40, "refill_below": 0.75},
        {"cache_tokens": 90, "refill_below": 1.0},
        {"rows": 5, "cache_tokens": 1, "refill_below": 0.75},
    ],
    ids=str,
)
@pytest.mark.parametrize("name", ["qwen2", "gemma3"])
def test_batching_does_not_change_a_response(name, monkeypatch, settings):
    model = build(name)
    monkeypatch.setattr("attnpo.sampling.transformers_sampler.HEADROOM", 4)
    monkeypatch.setattr("attnpo.sampling.decoding.BLOCK", 3)
    params = SamplingParams(max_new_tokens=20, seed=1)
    assert sample(model, requests(n=4), params, **settings) == sample(model, requests(n=4), params, rows=64)


def test_a_request_alone_gets_what_it_got_among_others(model):
    params = SamplingParams(max_new_tokens=16, seed=1)
    whole = sample(model, requests(), params)
    alone = sample(model, requests(PROMPTS[2:3], keys=[2])[1:2], params)
    assert alone == {(2, 1): whole[2, 1]}


def test_decode_draws_what_sample_draws(model):
    params = SamplingParams(max_new_tokens=24, seed=5)
    streams = [[(key, j) for j in range(2)] for key in range(len(PROMPTS))]
    decoded = TransformersSampler(model, Tokenizer()).decode(PROMPTS, streams, params)
    found = sample(model, requests(n=2), params)
    assert decoded == [found[stream] for group in streams for stream in group]


def test_equal_prompts_of_different_keys_share_nothing_but_the_reading():
    model = build("qwen2")
    params = SamplingParams(16, seed=1)
    found = sample(model, requests([PROMPTS[0], PROMPTS[0]], keys=[7, 8]), params)
    for (key, number), response in found.items():
        assert (response.ids, response.finished) == one_by_one(model, PROMPTS[0], key, number, params)


def test_each_response_is_yielded_when_it_ends():
    """Short ones come while the long one is still under way: the model has read no more than they needed."""
    model = build("qwen2")
    params = SamplingParams(60, seed=2)
    lengths = {key: len(r.ids) for key, r in sample(model, requests(n=6), params).items()}
    assert min(lengths.values()) < 10 < 50 < max(lengths.values())
    asked = requests(n=6)
    passes = count_passes(model)
    yielded = []
    for index, _ in TransformersSampler(model, Tokenizer(), rows=24, cache_tokens=100_000).sample(asked, params):
        request = asked[index]
        yielded.append(lengths[request.key, request.sample])
        assert passes() <= lengths[request.key, request.sample]
    assert yielded == sorted(yielded)


def test_rows_that_end_make_place_before_the_longest_has_ended():
    model = build("qwen2")
    params = SamplingParams(60, seed=2)
    asked = requests(n=8)
    passes = count_passes(model)
    batch_by_batch = sample(model, asked, params, rows=8, refill_below=0.0)
    made = passes()
    assert sample(model, asked, params, rows=8, refill_below=0.75) == batch_by_batch
    assert passes() - made < made


def count_passes(model):
    seen = []
    model.register_forward_hook(lambda *_: seen.append(1))
    return lambda: len(seen)


def test_the_cache_keeps_to_its_limit(monkeypatch):
    monkeypatch.setattr("attnpo.sampling.transformers_sampler.HEADROOM", 8)
    model = build("qwen2")
    held = []

    def note(module, args, kwargs, output):
        held.append(sum(layer.keys.shape[0] * layer.keys.shape[-2] for layer in kwargs["past_key_values"].layers[:1]))

    model.register_forward_hook(note, with_kwargs=True)
    found = sample(
        model, requests(n=8), SamplingParams(60, seed=2), cache_tokens=300, compact_below=1.0, refill_below=0.75
    )
    assert max(len(r.ids) for r in found.values()) == 60
    assert max(held) <= 300 + 32  # the position a step adds before rows are sent away


def test_breaking_off_leaves_the_models_attention_in_place():
    model = build("qwen2")
    sampler = TransformersSampler(model, Tokenizer(), attn_implementation="eager")
    drawing = sampler.sample(requests(), SamplingParams(30, seed=1))
    next(drawing)
    assert model.config._attn_implementation == "sdpa"
    drawing.close()
    assert model.config._attn_implementation == "sdpa"


def test_decodes_with_another_attention_and_puts_the_models_own_back():
    model = build("qwen2")
    params = SamplingParams(16, seed=1)
    assert sample(model, requests(), params, attn_implementation="eager") == sample(model, requests(), params)
    assert model.config._attn_implementation == "sdpa"


def test_seeds_and_samples_differ():
    model = build("qwen2")
    first = sample(model, requests(n=4), SamplingParams(20, seed=0))
    second = sample(model, requests(n=4), SamplingParams(20, seed=1))
    assert first != second
    assert len({tuple(first[0, j].ids) for j in range(4)}) > 1
    assert {r.finished for r in first.values()} == {True, False}


def test_top_k_and_top_p_keep_to_the_likely_tokens():
    model = build("qwen2")
    greedy = sample(model, requests(), SamplingParams(12, temperature=0))
    for params in (SamplingParams(12, top_k=1), SamplingParams(12, top_p=1e-6)):
        assert sample(model, requests(), params) == greedy


def test_nothing_asked_nothing_drawn():
    assert list(TransformersSampler(None, Tokenizer()).sample([], SamplingParams(4))) == []


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


@pytest.mark.parametrize("name", ["qwen2", "gemma3"])
def test_rows_join_right_aligned_and_first_positions_drop(name):
    """Against the plain cache of the same rows, written with their padding from the start."""
    config = build(name).config
    generator = torch.Generator().manual_seed(0)
    a, b = torch.randn(2, 2, 9, 8, generator=generator), torch.randn(3, 2, 4, 8, generator=generator)
    more = torch.randn(5, 2, 1, 8, generator=generator)
    padded = torch.cat([a, torch.nn.functional.pad(b, (0, 0, 5, 0))])
    for first, second in ((a, b), (b, a)):
        cache, other, plain = growing_cache(config), growing_cache(config), growing_cache(config)
        whole = padded if first is a else torch.cat([padded[2:], padded[:2]])
        for layer in range(2):
            cache.update(first, first + 1, layer)
            other.update(second, second + 1, layer)
            plain.update(whole[:, :, 2:], torch.where(whole == 0, 0.0, whole + 1)[:, :, 2:], layer)
        assert can_append(cache)
        append_rows(cache, other)
        assert cache.get_seq_length() == 9
        drop_first(cache, 2)
        assert cache.get_seq_length() == 7
        for layer in range(2):
            assert cache.layers[layer].get_mask_sizes(1) == plain.layers[layer].get_mask_sizes(1)
            for mine, expected in zip(cache.update(more, more, layer), plain.update(more, more, layer), strict=True):
                assert torch.equal(mine, expected)


@pytest.mark.parametrize(
    "settings",
    [{"max_new_tokens": 0}, {"temperature": -1.0}, {"top_p": 0.0}, {"top_p": 1.5}, {"top_k": -1}],
    ids=lambda s: next(iter(s)),
)
def test_params_out_of_range(settings):
    with pytest.raises(ConfigError, match=next(iter(settings))):
        SamplingParams(**{"max_new_tokens": 8, **settings})
