"""Matrices as GGUF files pack them: random blocks of types that gguf reads and cannot write, and what they mean."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from gguf_files import HEADS, KV_HEADS, LAYERS, vocabulary

SUPERBLOCK = 256
SCALES = {"Q2_K": (80, 82), "Q3_K": (108,), "Q4_K": (0, 2), "Q5_K": (0, 2), "Q6_K": (208,)}
"""Type → first bytes of the half floats in its block of 256 numbers; any other byte may be anything."""
LLAMA = {
    "token_embd": "Q4_K",
    "output": "Q6_K",
    "attn_q": "Q4_K",
    "attn_k": "Q3_K",
    "attn_v": "Q6_K",
    "attn_output": "Q5_K",
    "ffn_gate": "Q4_K",
    "ffn_up": "Q2_K",
    "ffn_down": "Q6_K",
}
"""Matrix → type, mixed as llama.cpp's recipes do; a head of its own."""
QWEN2 = {name: kind for name, kind in LLAMA.items() if name != "output"}
"""The same with the head tied to the embedding."""


def blocks(kind: str, rows: int, rng: np.random.Generator) -> np.ndarray:
    """Return rows of one block each; their scales are such that a number is about 0.05."""
    from gguf import GGML_QUANT_SIZES, GGMLQuantizationType

    size, bytes_ = GGML_QUANT_SIZES[GGMLQuantizationType[kind]]
    assert size == SUPERBLOCK
    made = rng.integers(0, 256, (rows, bytes_), dtype=np.uint8)
    for at in SCALES[kind]:
        made[:, at : at + 2] = rng.uniform(1e-4, 2e-4, (rows, 1)).astype(np.float16).view(np.uint8)
    return made


def packed(kinds: Mapping[str, str], biases: bool) -> dict[str, np.ndarray]:
    """Return the tensors of a file, width and inner width 256: blocks, and norms (and biases) in float32."""
    rng = np.random.default_rng(0)
    narrow = SUPERBLOCK * KV_HEADS // HEADS
    rows = {"token_embd": len(vocabulary()), "output": len(vocabulary()), "attn_k": narrow, "attn_v": narrow}
    made: dict[str, np.ndarray] = {"output_norm.weight": rng.normal(1, 0.1, SUPERBLOCK).astype(np.float32)}
    for name, kind in kinds.items():
        whole = name in ("token_embd", "output")
        for place in [""] if whole else [f"blk.{layer}." for layer in range(LAYERS)]:
            made[f"{place}{name}.weight"] = blocks(kind, rows.get(name, SUPERBLOCK), rng)
            if biases and name in ("attn_q", "attn_k", "attn_v"):
                made[f"{place}{name}.bias"] = rng.normal(0, 1, rows.get(name, SUPERBLOCK)).astype(np.float32)
    for layer in range(LAYERS):
        for name in ("attn_norm", "ffn_norm"):
            made[f"blk.{layer}.{name}.weight"] = rng.normal(1, 0.1, SUPERBLOCK).astype(np.float32)
    return made


def meant(tensors: Mapping[str, np.ndarray], kinds: Mapping[str, str], interleaved: bool) -> dict[str, Any]:
    """Return the state of a transformers model that is in a file: gguf's own arithmetic, transformers' names.

    Args:
        tensors: those of the file.
        kinds: matrix → type.
        interleaved: whether queries and keys lie in pairs, as ggml rotates them in a Llama.
    """
    import torch
    from gguf import GGMLQuantizationType
    from gguf.quants import dequantize

    state = {}
    for name, tensor in tensors.items():
        *place, part, what = name.split(".")
        value = dequantize(tensor, GGMLQuantizationType[kinds[part]]) if tensor.dtype == np.uint8 else tensor
        if interleaved and part in ("attn_q", "attn_k"):
            heads = HEADS if part == "attn_q" else KV_HEADS
            value = value.reshape(heads, -1, 2, SUPERBLOCK).swapaxes(1, 2).reshape(value.shape)
        here = f"model.layers.{place[1]}." if place else ""
        state[f"{here}{NAMES[part]}.{what}"] = torch.from_numpy(np.ascontiguousarray(value))
    return state


NAMES = {
    "token_embd": "model.embed_tokens",
    "output_norm": "model.norm",
    "output": "lm_head",
    "attn_norm": "input_layernorm",
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj",
    "ffn_norm": "post_attention_layernorm",
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
}
"""ggml's name → transformers'."""
