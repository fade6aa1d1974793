"""Counts and bytes worked out by hand."""

from __future__ import annotations

import pytest
import torch
from transformers import Qwen2Config

from attnpo.attention import Head
from attnpo.errors import ConfigError
from attnpo.training.estimate import (
    HeadMemory,
    Layout,
    ModelShape,
    PassMemory,
    Workload,
    batch_bytes,
    cache_bytes,
    device_memory,
    head_memory,
    meta_model,
    model_shape,
    precision,
    reading_bytes,
    run_plan,
    step_tensor_bytes,
    vllm_bytes,
    vllm_sequences,
    with_lora,
)

TINY = {
    "vocab_size": 100,
    "hidden_size": 8,
    "intermediate_size": 16,
    "num_hidden_layers": 3,
    "num_attention_heads": 2,
    "num_key_value_heads": 1,
    "tie_word_embeddings": False,
}
# q 8x8+8, k and v 8x4+4 each, o 8x8, gate and up and down 8x16 each, two norms of 8
LAYER = 72 + 36 + 36 + 64 + 3 * 128 + 16
OUTSIDE = 2 * 100 * 8 + 8


def test_parameters_of_a_model_without_weights():
    shape = model_shape(meta_model(Qwen2Config(**TINY)))
    assert shape.layers == (LAYER,) * 3
    assert shape.outside == OUTSIDE
    assert shape.parameters == shape.trainable == 3 * LAYER + OUTSIDE
    assert shape.cache_widths == ((2 * 1 * 4, None),) * 3
    assert shape.head_trainable


def test_a_tied_head_counts_once():
    shape = model_shape(meta_model(Qwen2Config(**{**TINY, "tie_word_embeddings": True})))
    assert shape.parameters == 3 * LAYER + OUTSIDE - 800


def test_adapters():
    from peft import LoraConfig

    lora = LoraConfig(r=2, task_type="CAUSAL_LM", target_modules="all-linear")
    shape = model_shape(with_lora(meta_model(Qwen2Config(**TINY)), lora))
    # r x (in + out) for q, k, v, o, gate, up, down
    adapters = 2 * (16 + 12 + 12 + 16 + 24 + 24 + 24)
    assert shape.trainable == 3 * adapters
    assert shape.frozen == 3 * LAYER + OUTSIDE
    assert not shape.head_trainable


SHAPE = ModelShape(
    parameters=1000,
    trainable=1000,
    layers=(300, 300),
    outside=400,
    head_trainable=True,
    hidden_size=10,
    vocab_size=20,
    num_heads=2,
    head_dim=5,
    cache_widths=((10, None), (10, None)),
)
IDLE = Workload(PassMemory(0, 0, 0, 0), HeadMemory(0, 0, 0, 0), 0, 0, 0, 0, False, False)


def held(
    layout: Layout, *, loaded=torch.float32, mixed=torch.bfloat16, lora=False, shape=SHAPE, optim="adamw_torch"
) -> dict:
    types = precision(layout, loaded=loaded, mixed=mixed, lora=lora, optim=optim)
    memory = device_memory(shape, layout, types, IDLE)
    return {term.name: term.bytes for term in memory.terms}


def test_one_process_holds_everything():
    assert held(Layout()) == {"weights": 4000, "optimizer states": 8000, "gradients": 4000}


def test_pure_bf16():
    assert held(Layout(), loaded=torch.bfloat16) == {"weights": 2000, "optimizer states": 4000, "gradients": 2000}


def test_ddp_has_buckets_besides():
    assert held(Layout("ddp", 4)) == {
        "weights": 4000,
        "optimizer states": 8000,
        "gradients": 4000,
        "gradient buckets of DDP": 4000,
    }


def test_zero2_shares_gradients_and_states():
    # bf16 weights whole; gradients in bf16, the float32 copy and two states over 4 processes; two buckets
    assert held(Layout("zero2", 4)) == {
        "weights": 2000,
        "optimizer states": 12 * 1000 // 4,
        "gradients": 2000 // 4,
        "buckets of DeepSpeed": 2 * 2000,
    }


def test_zero3_shares_weights_too():
    assert held(Layout("zero3", 4)) == {
        "weights": 500,
        "optimizer states": 3000,
        "gradients": 500,
        "weights gathered for a pass": 2 * (2 * 300 + 400),
        "buckets of DeepSpeed": 2 * 2000,
    }


def test_fsdp2_keeps_float32_and_gathers_bf16():
    assert held(Layout("fsdp2", 4), loaded=torch.bfloat16) == {
        "weights": 1000,
        "optimizer states": 2000,
        "gradients": 1000,
        "weights gathered for a pass": 2 * (2 * 300 + 400) + 4 * 20 * 10,
    }


def test_lora_trains_adapters_in_float32_on_bf16_weights():
    shape = ModelShape(**{**vars(SHAPE), "trainable": 100, "head_trainable": False})
    assert held(Layout(), loaded=torch.bfloat16, lora=True, shape=shape) == {
        "weights": 900 * 2 + 100 * 4,
        "optimizer states": 100 * 8,
        "gradients": 100 * 4,
    }


@pytest.mark.parametrize(
    ("optim", "states"), [("sgd", 0), ("adamw_8bit", 2000), ("lion_32bit", 4000), ("adamw_torch_fused", 8000)]
)
def test_states_of_an_optimizer(optim, states):
    assert held(Layout(), optim=optim).get("optimizer states", 0) == states


def test_the_peak_is_that_of_the_phase_that_needs_most():
    work = Workload(
        decoder=PassMemory(saved=500, forward_peak=600, forward_end=550, backward_peak=700),
        head=HeadMemory(forward=100, backward=400, kept=50, gradient=0),
        reading=30,
        batch=7,
        cache=50_000,
        vllm=11,
        vllm_sleeps=True,
        reference=False,
    )
    memory = device_memory(
        SHAPE, Layout(), precision(Layout(), loaded=torch.float32, mixed=None, lora=False, optim="sgd"), work
    )
    assert memory.in_phase("sampling") == 4000 + 7 + 50_000 + 11
    # moments of a pass: 600 + 30, 550 + 100, 500 + 400, 700 + 50
    assert memory.in_phase("pass") == 4000 + 7 + 4000 + 900
    assert memory.in_phase("update") == 4000 + 7 + 4000
    assert (memory.peak_phase, memory.peak) == ("sampling", 54_018)


def test_the_heads_tiles():
    found = head_memory(
        tokens=120, scored=100, hidden=10, vocab=50_000, compute_bytes=2, input_bytes=4, trainable=True, triton=True
    )
    kept = 100 * 10 * 4 + 4 * 100 * 4
    tile = 100 * 32768 * 2
    weights = 32768 * 10 * 2
    assert found.kept == kept
    assert found.forward == kept + tile + weights
    assert found.backward == kept + tile + weights + 100 * 10 * 4 + 120 * 10 * 4 + 50_000 * 10 * 4


def test_tiles_are_those_of_trl():
    from trl.kernels import chunked_logprob
    from trl.trainer import utils

    from attnpo.training.estimate import head

    assert (chunked_logprob.TOKEN_CHUNK_SIZE, utils._CHUNKED_LOGPROB_CHUNK_SIZE) == (head.TOKEN_TILE, head.VOCAB_TILE)


def test_keys_and_values():
    # 3 sequences of 7 tokens, 2 layers of 10 numbers a token, 2 bytes
    assert cache_bytes(SHAPE, 3, 7, 2) == 3 * 7 * 20 * 2
    sliding = ModelShape(**{**vars(SHAPE), "cache_widths": ((10, None), (10, 4))})
    assert cache_bytes(sliding, 1, 7, 2) == (7 + 4) * 10 * 2


def test_what_vllm_holds():
    assert vllm_bytes(10_000, 0.3) == 3000
    # 3000 bytes less 2 x 1000 of weights; a sequence of 5 tokens takes 5 x 20 x 2
    assert vllm_sequences(SHAPE, 3000, 5, 1) == pytest.approx(5.0)
    assert vllm_sequences(SHAPE, 3000, 5, 2) == pytest.approx(20.0)


def test_reading_costs_nothing_without_heads():
    assert reading_bytes((), 5, 2, 100, 64) == 0


def test_reading_of_heads():
    # two of the three heads share a layer; rows 2, length 100, answer chunk 64
    keys, mass, logits, places = 2 * 2 * 100 * 5 * 4, 2 * 2 * 100 * 4, 3 * 2 * 2 * 64 * 100 * 4, 2 * 2 * 100 * 8
    heads = [Head(1, 0), Head(1, 1), Head(2, 0)]
    assert reading_bytes(heads, 5, 2, 100, 64) == keys + mass + logits + places


def test_a_chunk_is_cut_where_logits_would_be_too_many():
    # 2^23 logits over 1 row x 1 head x 2^20 keys leave a chunk of 8 answer tokens
    length = 2**20
    assert reading_bytes([Head(0, 0)], 4, 1, length, 64) == length * (4 * 4 + 4 + 3 * 8 * 4 + 16)


def test_tensors_of_the_batch():
    assert step_tensor_bytes(3, 10, 2, reads_heads=True) == 3 * (10 * 13 + 2 * 13)
    assert step_tensor_bytes(3, 10, 2, reads_heads=False) == 3 * (10 * 13 + 2 * 9)
    assert batch_bytes(3, 4, 10, old_log_probs=False) == 3 * 14 * 16
    assert batch_bytes(3, 4, 10, old_log_probs=True) == 3 * 14 * 16 + 3 * 10 * 8


PAPER = {
    "processes": 8,
    "problems": 40_315,
    "group_size": 8,
    "micro_batch": 1,
    "micro_batches": 128,
    "micro_batches_per_generation": 128,
    "iterations": 1,
    "max_steps": 1000,
    "epochs": 3.0,
    "response_limit": 16_384,
}


def test_the_papers_run():
    plan = run_plan(**PAPER)
    assert (plan.prompts_per_batch, plan.responses_per_batch, plan.responses_per_process) == (128, 1024, 128)
    assert (plan.updates, plan.batches, plan.updates_per_batch) == (1000, 1000, 1)
    assert plan.epochs == pytest.approx(1000 / 314)
    assert plan.tokens_at_most == 1000 * 1024 * 16_384


def test_epochs_without_max_steps():
    assert run_plan(**{**PAPER, "max_steps": -1}).updates == 3 * 314


def test_several_updates_a_batch():
    plan = run_plan(**{**PAPER, "micro_batches": 32, "iterations": 2})
    assert plan.updates_per_batch == 8
    assert plan.batches == 125


def test_a_budget_of_tokens_ends_the_run_within_a_round():
    plan = run_plan(**PAPER, max_sampled_tokens=20_000_000)
    assert plan.tokens_at_most == 20_000_000 + 1024 * 16_384


@pytest.mark.parametrize(
    ("settings", "words"),
    [({"processes": 3, "micro_batches_per_generation": 1}, "num_generations"), ({"problems": 100}, "128 prompts")],
)
def test_what_cannot_be_a_run(settings, words):
    with pytest.raises(ConfigError, match=words):
        run_plan(**{**PAPER, **settings})
