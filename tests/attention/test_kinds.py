"""Attention that is more than a plain softmax: read as the model used it, or refused by name.

With `test_reading.py` (soft caps, sinks, windows, latent attention) and `test_hybrids.py` (recurrent and linear
layers) this is the list of kinds that are known to work.
"""

from __future__ import annotations

import pytest
import torch
import transformers
from packaging.version import Version

from attnpo.attention import Head, check_readable, read_step_scores, readable_heads
from attnpo.errors import UnsupportedModelError

READ = {
    "llama4_text": {  # chunks, temperature by position, layers without rotary embedding
        "attention_chunk_size": 16,
        "layer_types": ["chunked_attention", "full_attention", "chunked_attention"],
        "no_rope_layers": [1, 0, 1],
        "attn_temperature_tuning": True,
        "floor_scale": 8,
        "num_local_experts": 2,
        "intermediate_size_mlp": 64,
    },
    "cohere2": {"sliding_window": 12, "layer_types": ["sliding_attention", "full_attention", "sliding_attention"]},
    "olmo3": {"sliding_window": 12, "layer_types": ["sliding_attention", "sliding_attention", "full_attention"]},
    "exaone4": {"sliding_window": 12, "layer_types": ["sliding_attention", "full_attention", "full_attention"]},
    "afmoe": {"num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 32},  # gated output
    "doge": {},  # a learned bias a key
    "granite": {"attention_multiplier": 0.3},  # its own scaling
    "gpt_neox": {},  # partial rotary embedding
    "phi": {},
    "stablelm": {},
    "opt": {"word_embed_proj_dim": 48},  # learned positions
    "gpt_bigcode": {},  # one key head for all
    "smollm3": {},
}
EAGER = {
    "flint": {},  # sinks, float32 throughout
    "vaultgemma": {"sliding_window": 12, "attn_logit_softcapping": 2.0},
}
KINDS = [(name, implementation) for name in READ for implementation in ("sdpa", "eager")] + [
    (name, "eager") for name in EAGER
]


@pytest.mark.parametrize(("name", "implementation"), KINDS)
def test_probabilities_are_the_models(tools, name, implementation):
    model, batch = tools.model(name, implementation, **(READ | EAGER)[name]), tools.batch("right")
    with torch.no_grad(), read_step_scores(model, None, *batch.annotations, batch.attention_mask) as reading:
        model(**batch.inputs)
    assert tools.error(reading.scores_BKN, tools.truth(model, batch)) <= 2e-5


def test_sinks_that_scale_the_output(tools):
    """granite_swa reports its weights before the sink takes its share; what is read is what the output got."""
    model, batch = tools.model("granite_swa", "eager", sliding_window=12), tools.batch("right")
    with torch.no_grad(), read_step_scores(model, None, *batch.annotations, batch.attention_mask) as reading:
        model(**batch.inputs)
    before, read = tools.truth(model, batch), reading.scores_BKN.double()
    seen = before > 0
    assert (read[seen] < before[seen]).all()
    for layer in model.model.layers:
        layer.self_attn.sinks.data.fill_(-1e4)  # no sink at all
    with torch.no_grad(), read_step_scores(model, None, *batch.annotations, batch.attention_mask) as reading:
        model(**batch.inputs)
    assert tools.error(reading.scores_BKN, tools.truth(model, batch)) <= 2e-5


@pytest.mark.parametrize(
    ("name", "settings", "words"),
    [
        ("bloom", {"n_layer": 2, "n_head": 2}, "no attention through transformers' registry"),  # ALiBi
        ("mpt", {"d_model": 48, "n_heads": 6, "n_layers": 2}, "no attention through transformers' registry"),  # ALiBi
        pytest.param(
            "gptj",
            {"n_embd": 48, "n_head": 6, "n_layer": 2},
            "no attention through transformers' registry",
            marks=pytest.mark.skipif(Version(transformers.__version__) >= Version("5.24"), reason="GPT-J can be read"),
        ),
        ("deepseek_v32", {}, r"layer 0 has no softmax attention to read \((indexed|deepseek_sparse)_att"),  # few keys
        ("hy_v4", {}, r"has no softmax attention to read"),
    ],
)
def test_kinds_that_are_refused_before_a_forward_pass(tools, name, settings, words):
    model = tools.model(name, "eager", **settings)
    with pytest.raises(UnsupportedModelError, match=words) as error:
        check_readable(model)
    assert "\n" not in str(error.value)
    assert type(model).__name__ in str(error.value)


def test_differential_attention_is_refused_in_the_forward_pass(tools):
    """The difference of two softmaxes is no probability."""
    model, batch = tools.model("diffllama"), tools.batch("right")
    with (
        torch.no_grad(),
        pytest.raises(UnsupportedModelError, match="layer 1: calls attention twice"),
        read_step_scores(model, [Head(1, 2)], *batch.annotations),
    ):
        model(**batch.inputs)


def test_layers_that_see_a_state_only_are_passed_over(tools):
    model = tools.model("recurrent_gemma")
    heads, others = readable_heads(model)
    assert others
    assert {head.layer for head in heads}.isdisjoint(others)
