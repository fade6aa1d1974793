"""GGUF files as they are mostly found: several K types in one, a head of its own, biases."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from gguf_blocks import LLAMA, QWEN2, SUPERBLOCK, meant, packed
from gguf_files import HEADS, KV_HEADS, LAYERS, vocabulary, write_gguf
from transformers import LlamaConfig, LlamaForCausalLM, Qwen2Config, Qwen2ForCausalLM

from attnpo.models import find_model, load_model, plain_folder

pytest.importorskip("gguf", reason="GGUF files are read with gguf")

THETA = 50_000.0
SHAPE = {
    "vocab_size": len(vocabulary()),
    "hidden_size": SUPERBLOCK,
    "intermediate_size": SUPERBLOCK,
    "num_hidden_layers": LAYERS,
    "num_attention_heads": HEADS,
    "num_key_value_heads": KV_HEADS,
    "rms_norm_eps": 1e-5,
    "rope_parameters": {"rope_type": "default", "rope_theta": THETA},
}
FAMILIES = {"llama": (LLAMA, LlamaConfig, LlamaForCausalLM), "qwen2": (QWEN2, Qwen2Config, Qwen2ForCausalLM)}


@pytest.mark.parametrize("family", FAMILIES)
def test_it_is_the_model_that_ggufs_own_arithmetic_makes_of_its_blocks(tmp_path, family):
    """Every weight to the bit, and the same logits as a model of transformers with those weights."""
    kinds, config, kind = FAMILIES[family]
    tensors = packed(kinds, biases=family == "qwen2")
    options = {"architecture": family, "width": SUPERBLOCK, "inner": SUPERBLOCK, f"{family}__rope__freq_base": THETA}
    source = find_model(str(write_gguf(tmp_path / "m.gguf", tensors=tensors, kinds=kinds, **options)))
    state = meant(tensors, kinds, interleaved=family == "llama")
    tied = "output" not in kinds
    made = kind(config(**SHAPE, tie_word_embeddings=tied)).eval()
    lacking, unknown = made.load_state_dict(state, strict=False)
    assert (lacking, unknown) == (["lm_head.weight"] if tied else [], [])

    model = load_model(source, dtype="float32", device="cpu")
    assert type(model) is kind
    assert model.config.tie_word_embeddings == tied
    found = model.state_dict()
    assert found.keys() == made.state_dict().keys()
    for name, tensor in made.state_dict().items():
        np.testing.assert_array_equal(found[name].numpy(), tensor.numpy(), err_msg=name)
    ids = torch.arange(0, 250, 5)[None]
    with torch.no_grad():
        expected, logits = made(ids).logits, model(ids).logits
    assert expected.isfinite().all()
    assert expected.std() > 0.1
    torch.testing.assert_close(logits, expected, rtol=1e-5, atol=1e-5)


def test_a_head_of_its_own_is_in_the_plain_folder(tmp_path):
    """What vLLM and others load: tied, they would compute with the embedding."""
    tensors = packed(LLAMA, biases=False)
    path = write_gguf(tmp_path / "m.gguf", tensors=tensors, kinds=LLAMA, width=SUPERBLOCK, inner=SUPERBLOCK)
    folder = plain_folder(find_model(str(path)))
    assert json.loads((Path(folder) / "config.json").read_text())["tie_word_embeddings"] is False
    again = LlamaForCausalLM.from_pretrained(folder)
    assert torch.equal(again.lm_head.weight, meant(tensors, LLAMA, interleaved=True)["lm_head.weight"])
    assert not torch.equal(again.lm_head.weight, again.model.embed_tokens.weight)
