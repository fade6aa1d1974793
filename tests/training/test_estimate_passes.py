"""A pass without data holds what a pass with data holds."""

from __future__ import annotations

import pytest
import torch
from transformers import Qwen2Config, Qwen2ForCausalLM

from attnpo.training.estimate import decoder_pass, meta_model
from attnpo.training.estimate.live import LiveBytes, gradients_set_aside

SHAPE = {
    "vocab_size": 50,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "tie_word_embeddings": False,
}


def held(checkpointing=False, autocast=None, attention="sdpa", layers=3, rows=2, length=24, padded=False):
    config = Qwen2Config(**{**SHAPE, "num_hidden_layers": layers})
    return decoder_pass(
        meta_model(config, attn_implementation=attention),
        rows,
        length,
        padded=padded,
        checkpointing=checkpointing,
        autocast=autocast,
        dtype_of=lambda parameter: torch.float32,
    )


def test_live_bytes_are_counted_once_and_let_go():
    live = LiveBytes()
    with live:
        kept = torch.zeros(10)
        view = kept[2:]
        passing = kept + 1
        del passing
    assert (live.live, live.peak) == (40, 80)
    del kept
    assert live.live == 40  # the view holds the storage
    del view
    assert live.live == 0


def test_a_tensor_made_before_is_left_out_with_its_views():
    weight = torch.zeros(4, 4)
    live = LiveBytes()
    live.leave_out(weight)
    with live:
        turned = weight.t()
        assert live.live == 0
        product = turned @ weight
    assert live.live == 64
    del product


def test_accumulated_gradients_are_set_aside():
    layer = torch.nn.Linear(4, 4, bias=False)
    live = LiveBytes()
    live.leave_out(layer.weight)
    with live, gradients_set_aside(live, layer):
        layer(torch.ones(2, 4)).sum().backward()
    assert layer.weight.grad is not None
    assert live.live == 0


@pytest.mark.parametrize("attention", ["sdpa", "eager"])
def test_no_data_counts_as_data_does(attention):
    model = Qwen2ForCausalLM(Qwen2Config(**SHAPE, attn_implementation=attention))
    live = LiveBytes()
    for tensor in (*model.parameters(), *model.buffers()):
        live.leave_out(tensor)
    ids = torch.zeros(2, 24, dtype=torch.long)
    with live, gradients_set_aside(live, model):
        hidden = model.get_decoder()(input_ids=ids, use_cache=False).last_hidden_state
        saved = live.live
        live.mark()
        hidden.backward(torch.ones_like(hidden))
        peak = live.peak
    found = held(attention=attention)
    assert found.saved == pytest.approx(saved, rel=0.01)
    assert found.backward_peak == pytest.approx(peak, rel=0.02)


def test_a_layer_of_fused_attention_by_hand():
    # What one more layer keeps for the backward pass, float32, 48 tokens of width 32 (D), 4 heads of 8, keys 16 wide
    # (J), 48 wide within (I), numbers a token:
    #   norms, twice: input (the residual stream, D), 1/rms (1), normalized (D), their product with the weight (D)
    #   queries D, keys J, values J after the projections (values), queries and keys after rotary embedding;
    #   attention's output D and one number a head and query
    #   gate I, its activation I, up I, their product I
    tokens, d, j, inner, heads = 48, 32, 16, 48, 4
    norms = 2 * (3 * d + 1)
    attention = d + j + j + d + heads
    mlp = 4 * inner
    by_hand = tokens * (norms + attention + mlp) * 4
    found = held(attention="flash_attention_2", layers=3).saved - held(attention="flash_attention_2", layers=2).saved
    assert found == by_hand


def test_checkpointing_keeps_one_residual_stream_a_layer():
    more = held(checkpointing=True, layers=3).saved - held(checkpointing=True, layers=2).saved
    assert more == 2 * 24 * 32 * 4


def test_checkpointing_saves_and_eager_attention_costs():
    assert held(checkpointing=True).backward_peak < held().backward_peak
    # Eager attention keeps the probabilities of every head.
    assert held(attention="eager").saved - held(attention="flash_attention_2").saved >= 3 * 2 * 4 * 24 * 24 * 4


def test_autocast_computes_in_less_and_copies_weights():
    half = held(autocast=torch.bfloat16, attention="flash_attention_2", rows=8)
    whole = held(attention="flash_attention_2", rows=8)
    assert half.saved < whole.saved
    # At the end of the forward pass, the layers' linear weights are there a second time, 2 bytes each.
    weights = 3 * (32 * 32 * 2 + 32 * 16 * 2 + 3 * 32 * 48)
    kept = held(autocast=torch.bfloat16, attention="flash_attention_2", checkpointing=True)
    assert kept.forward_end - kept.saved >= 2 * weights


def test_the_model_is_left_as_it_was():
    model = meta_model(Qwen2Config(**SHAPE))
    decoder_pass(model, 1, 8, padded=True, checkpointing=True, autocast=None, dtype_of=lambda parameter: torch.float32)
    assert {parameter.device.type for parameter in model.parameters()} == {"meta"}
    assert not model.is_gradient_checkpointing
