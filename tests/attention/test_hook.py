"""The contract with transformers' private dispatch: these tests fail loudly when an upstream change breaks it."""

from __future__ import annotations

import inspect
from contextlib import ExitStack

import pytest
import torch
import transformers
from packaging.version import Version
from transformers import AttentionInterface
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS
from transformers.models.qwen2 import modeling_qwen2
from transformers.models.qwen3.modeling_qwen3 import apply_rotary_pos_emb

from attnpo.attention.hook import EAGER, REGISTRY, find_decoder, observe_attention
from attnpo.errors import UnsupportedModelError


def first_call(model, batch):
    calls = []
    attention = find_decoder(model).attention[1]
    with torch.no_grad(), observe_attention({attention: calls.append}):
        model(**batch.inputs)
    assert len(calls) == 1
    return calls[0]


def test_registry_api():
    assert isinstance(ALL_ATTENTION_FUNCTIONS, AttentionInterface)
    assert ALL_ATTENTION_FUNCTIONS._local_mapping == {}
    assert {"sdpa", "flash_attention_2", "flash_attention_3", "flex_attention"} <= set(ALL_ATTENTION_FUNCTIONS)
    assert "eager" not in ALL_ATTENTION_FUNCTIONS
    sentinel = object()
    before = ALL_ATTENTION_FUNCTIONS["sdpa"]
    ALL_ATTENTION_FUNCTIONS._local_mapping["sdpa"] = sentinel
    try:
        assert ALL_ATTENTION_FUNCTIONS.get_interface("sdpa", None) is sentinel
    finally:
        del ALL_ATTENTION_FUNCTIONS._local_mapping["sdpa"]
    assert ALL_ATTENTION_FUNCTIONS.get_interface("sdpa", None) is before
    assert ALL_ATTENTION_FUNCTIONS.get_interface("eager", sentinel) is sentinel


@pytest.mark.parametrize("name", ["sdpa", "flash_attention_2", "flash_attention_3", "flex_attention"])
def test_signature_of_attention_functions(name):
    parameters = list(inspect.signature(ALL_ATTENTION_FUNCTIONS[name]).parameters)
    assert parameters[:5] == ["module", "query", "key", "value", "attention_mask"]
    assert "scaling" in parameters


def test_options_that_flash_attention_is_given():
    parameters = inspect.signature(ALL_ATTENTION_FUNCTIONS["flash_attention_2"]).parameters
    assert {"scaling", "sliding_window", "softcap", "is_causal", "s_aux"} <= set(parameters)
    if Version(transformers.__version__) >= Version("5.17"):  # 5.10 has no such argument
        assert "position_bias" in inspect.signature(ALL_ATTENTION_FUNCTIONS["sdpa"]).parameters


def test_modeling_files_look_both_names_up_in_their_globals():
    names = inspect.unwrap(modeling_qwen2.Qwen2Attention.forward).__globals__
    assert names is vars(modeling_qwen2)
    assert {REGISTRY, EAGER} <= names.keys()
    assert names[REGISTRY] is ALL_ATTENTION_FUNCTIONS


def test_layers_call_with_queries_and_keys_after_norm_and_rotary_embedding(tools):
    model, batch = tools.model("qwen3"), tools.batch("right")
    inputs = {}
    attention = find_decoder(model).attention[1]
    spy = attention.register_forward_pre_hook(lambda _, __, kwargs: inputs.update(kwargs), with_kwargs=True)
    call = first_call(model, batch)
    spy.remove()
    shape = (*batch.input_ids.shape, -1, attention.head_dim)
    with torch.no_grad():
        query = attention.q_norm(attention.q_proj(inputs["hidden_states"]).view(shape)).transpose(1, 2)
        key = attention.k_norm(attention.k_proj(inputs["hidden_states"]).view(shape)).transpose(1, 2)
        query, key = apply_rotary_pos_emb(query, key, *inputs["position_embeddings"])
    assert torch.equal(call.query_BHLD, query)
    assert torch.equal(call.key_BJLD, key)
    assert call.scaling == attention.scaling
    assert call.implementation == "sdpa"


def test_options_reach_the_call(tools):
    batch = tools.batch("right")
    mistral = first_call(tools.model("mistral"), batch)
    assert (mistral.sliding_window, mistral.is_causal, mistral.mask.dtype) == (12, True, torch.bool)
    gemma = first_call(tools.model("gemma2", "eager"), batch)
    assert (gemma.softcap, gemma.mask.dtype, gemma.implementation) == (2.0, torch.float32, "eager")
    assert first_call(tools.model("gpt_oss", "eager"), batch).sinks_H.shape == (6,)
    assert first_call(tools.model("qwen2"), batch).position_ids is not None


def test_position_bias_reaches_the_call(tools):
    """Few decoders have one, so the function is called by hand as such a layer would."""
    calls = []
    attention = find_decoder(tools.model("qwen2")).attention[0]
    query, key, bias = torch.randn(1, 6, 5, 8), torch.randn(1, 2, 5, 8), torch.randn(1, 6, 5, 5)
    with observe_attention({attention: calls.append}):
        ALL_ATTENTION_FUNCTIONS["sdpa"](attention, query, key, key, None, scaling=0.5, position_bias=bias)
    assert calls[0].position_bias is bias
    assert calls[0].query_BHLD is query


@pytest.mark.parametrize("name", ["qwen2", "qwen3", "llama", "mistral", "gemma2", "gemma3_text", "mixtral", "gpt2"])
def test_every_layer_is_found(tools, name):
    decoder = find_decoder(tools.model(name, "eager"))
    assert list(decoder.attention) == [0, 1, 2]
    assert [module.layer_idx for module in decoder.attention.values()] == [0, 1, 2]
    assert not decoder.unreadable


@pytest.mark.parametrize("implementation", ["sdpa", "eager"])
def test_observations_may_end_in_any_order(tools, implementation):
    batch = tools.batch("right")
    models = [tools.model("qwen2", implementation) for _ in range(2)]
    registered = ALL_ATTENTION_FUNCTIONS["sdpa"], modeling_qwen2.eager_attention_forward
    calls, stacks = [[], []], [ExitStack(), ExitStack()]
    for stack, model, seen in zip(stacks, models, calls, strict=True):
        stack.enter_context(observe_attention({find_decoder(model).attention[0]: seen.append}))
    stacks[0].close()
    with torch.no_grad():
        models[0](**batch.inputs)
        models[1](**batch.inputs)
    stacks[1].close()
    assert [len(seen) for seen in calls] == [0, 1]
    assert (ALL_ATTENTION_FUNCTIONS["sdpa"], modeling_qwen2.eager_attention_forward) == registered
    assert ALL_ATTENTION_FUNCTIONS._local_mapping == {}


def test_a_users_override_survives(tools, monkeypatch):
    original = ALL_ATTENTION_FUNCTIONS["sdpa"]
    count = []

    def counting(*args, **kwargs):
        count.append(1)
        return original(*args, **kwargs)

    monkeypatch.setitem(ALL_ATTENTION_FUNCTIONS._local_mapping, "sdpa", counting)
    first_call(tools.model("qwen2"), tools.batch("right"))
    assert len(count) == 3
    assert ALL_ATTENTION_FUNCTIONS["sdpa"] is counting
    with observe_attention({find_decoder(tools.model("qwen2")).attention[0]: print}):
        ALL_ATTENTION_FUNCTIONS["sdpa"] = original
    assert ALL_ATTENTION_FUNCTIONS["sdpa"] is original


def test_unknown_implementation(tools):
    model = tools.model("qwen2")
    model.config._attn_implementation = "nobody/knows"
    with (
        pytest.raises(UnsupportedModelError, match="'nobody/knows'"),
        observe_attention({find_decoder(model).attention[0]: print}),
    ):
        pass
