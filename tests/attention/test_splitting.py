"""Layouts that split heads or keys are refused by name; those that leave attention whole pass."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch
from accelerate import ParallelismConfig
from transformers import AutoModelForCausalLM, JetMoeConfig

from attnpo.attention import Head, check_parallelism, check_readable, read_step_scores
from attnpo.errors import ConfigError, UnsupportedModelError


@pytest.mark.parametrize(
    ("sizes", "words"),
    [
        ({"tp_size": 2, "dp_shard_size": 2}, r"tp_size=2 \(tensor parallelism\) splits the heads"),
        ({"cp_size": 4}, r"cp_size=4 \(context parallelism\) splits the keys"),
        ({"sp_size": 2}, r"sp_size=2 \(sequence parallelism\) splits the keys"),
    ],
)
def test_settings_that_split_attention(sizes, words):
    with pytest.raises(ConfigError, match=words) as error:
        check_parallelism(parallelism=ParallelismConfig(**sizes))
    assert "\n" not in str(error.value)
    assert "FSDP2 or ZeRO" in str(error.value)


def test_sharded_and_replicated_data_parallelism_passes(tools):
    check_parallelism(parallelism=None)
    check_parallelism(tools.model("qwen2"), ParallelismConfig(dp_replicate_size=2, dp_shard_size=4))


@pytest.mark.parametrize(
    ("loaded", "words"),
    [
        ({"tp_size": 2, "tp_plan": "auto"}, "heads split over 2 processes"),
        ({"tp_size": 1, "pp_size": 3}, "3 pipeline stages"),
    ],
)
def test_models_that_were_split_as_they_were_loaded(tools, loaded, words):
    model, batch = tools.model("qwen2"), tools.batch()
    model.config.distributed_config = SimpleNamespace(**loaded)
    for function in (check_parallelism, check_readable):
        with pytest.raises(UnsupportedModelError, match=words):
            function(model)
    with pytest.raises(UnsupportedModelError, match=words), read_step_scores(model, None, *batch.annotations):
        pytest.fail("must be refused before the forward pass")
    model.config.distributed_config = SimpleNamespace(tp_size=2, tp_plan={}, pp_size=1)  # experts only
    check_parallelism(model)


def test_a_layer_that_computes_some_of_the_heads_only(tools):
    model, batch = tools.model("qwen2"), tools.batch()
    attention = model.model.layers[1].self_attn  # as if this process held the first half of its heads
    attention.q_proj.weight.data, attention.q_proj.bias.data = (
        t[: len(t) // 2] for t in (attention.q_proj.weight.data, attention.q_proj.bias.data)
    )
    attention.k_proj.weight.data, attention.k_proj.bias.data = (
        t[: len(t) // 2] for t in (attention.k_proj.weight.data, attention.k_proj.bias.data)
    )
    attention.v_proj.weight.data, attention.v_proj.bias.data = (
        t[: len(t) // 2] for t in (attention.v_proj.weight.data, attention.v_proj.bias.data)
    )
    attention.o_proj.weight.data = attention.o_proj.weight.data[:, :24]
    with (
        torch.no_grad(),
        pytest.raises(UnsupportedModelError, match="layer 1: computes 3 heads, its config states 6"),
        read_step_scores(model, [Head(1, 1)], *batch.annotations),
    ):
        model(**batch.inputs)


def test_heads_that_are_routed_are_none_of_the_configs():
    settings = {"vocab_size": 97, "hidden_size": 32, "num_hidden_layers": 1, "kv_channels": 8, "intermediate_size": 32}
    config = JetMoeConfig(**settings, num_key_value_heads=2, num_local_experts=4, num_experts_per_tok=2)
    config.num_attention_heads = 8
    model = AutoModelForCausalLM.from_config(config)
    step_index_BL, answer_mask_BL = torch.tensor([[0, 0, 1, -1]]), torch.tensor([[0, 0, 0, 1]]).bool()
    with (
        torch.no_grad(),
        pytest.raises(UnsupportedModelError, match="layer 0: computes 4 heads"),
        read_step_scores(model, [Head(0, 1)], step_index_BL, answer_mask_BL),
    ):
        model(input_ids=torch.arange(4)[None])
