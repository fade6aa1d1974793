"""GGUF files of a model with two layers, written as llama.cpp's converter does."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

LAYERS, WIDTH, INNER, HEADS, KV_HEADS = 2, 32, 64, 4, 2
SPECIAL = ("<|endoftext|>", "<|im_start|>", "<|im_end|>")
CHATML = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


def weights(seed: int = 0) -> dict[str, np.ndarray]:
    """Return the tensors by ggml's names, (out, in); float32 values that a half float holds."""
    rng = np.random.default_rng(seed)
    narrow = WIDTH * KV_HEADS // HEADS
    shapes: dict[str, tuple[int, ...]] = {
        "token_embd.weight": (len(vocabulary()), WIDTH),
        "output_norm.weight": (WIDTH,),
    }
    for layer in range(LAYERS):
        block = {
            "attn_norm": (WIDTH,),
            "ffn_norm": (WIDTH,),
            "attn_q": (WIDTH, WIDTH),
            "attn_k": (narrow, WIDTH),
            "attn_v": (narrow, WIDTH),
            "attn_output": (WIDTH, WIDTH),
            "ffn_gate": (INNER, WIDTH),
            "ffn_up": (INNER, WIDTH),
            "ffn_down": (WIDTH, INNER),
        }
        shapes |= {f"blk.{layer}.{name}.weight": shape for name, shape in block.items()}
    return {name: rng.normal(0, 0.3, shape).astype(np.float16).astype(np.float32) for name, shape in shapes.items()}


def write_gguf(
    path: Path,
    architecture: str = "llama",
    tensors: Mapping[str, np.ndarray] | None = None,
    tokenizer: bool = True,
    template: str | None = CHATML,
    eos: int | None = 0,
    quantised: str | None = None,
    kinds: Mapping[str, str] | None = None,
    width: int = WIDTH,
    inner: int = INNER,
    **fields: Any,
) -> Path:
    """Write a file.

    Args:
        path: where to.
        architecture: what it says it is.
        tensors: its weights; `weights()` if None.
        tokenizer: whether it holds one.
        template: its chat template.
        eos: number of the end token among `SPECIAL`; it names none if None.
        quantised: how its matrices are stored (`Q8_0`); as float32 if None.
        kinds: types of the matrices that are given as packed bytes, by the last part of their name (`attn_q`).
        width: of the model.
        inner: width within its perceptrons.
        fields: further numbers and texts, `__` for a dot.
    """
    from gguf import GGMLQuantizationType, GGUFWriter
    from gguf.quants import quantize

    writer = GGUFWriter(path, architecture)
    writer.add_context_length(256)
    writer.add_embedding_length(width)
    writer.add_block_count(LAYERS)
    writer.add_feed_forward_length(inner)
    writer.add_head_count(HEADS)
    writer.add_head_count_kv(KV_HEADS)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_rope_dimension_count(width // HEADS)
    writer.add_vocab_size(len(vocabulary()))
    if tokenizer:
        writer.add_tokenizer_model("gpt2")
        writer.add_tokenizer_pre("smollm")
        writer.add_token_list(vocabulary())
        writer.add_token_types([3] * len(SPECIAL) + [1] * (len(vocabulary()) - len(SPECIAL)))
        writer.add_token_merges(["t h", "th e"])
        writer.add_bos_token_id(0)
        if eos is not None:
            writer.add_eos_token_id(eos)
        if template is not None:
            writer.add_chat_template(template)
    for name, value in fields.items():
        add: Any = {float: writer.add_float32, str: writer.add_string}.get(type(value), writer.add_uint32)
        add(name.replace("__", "."), value)
    for name, tensor in (weights() if tensors is None else tensors).items():
        if kinds is not None and tensor.dtype == np.uint8:
            writer.add_tensor(name, tensor, raw_dtype=GGMLQuantizationType[kinds[name.split(".")[-2]]])
        elif quantised is not None and tensor.ndim > 1:
            kind = GGMLQuantizationType[quantised]
            writer.add_tensor(name, quantize(tensor, kind), raw_dtype=kind)
        else:
            writer.add_tensor(name, tensor)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def vocabulary() -> list[str]:
    """Special tokens, the 256 bytes as GPT-2 writes them, two merges."""
    plain = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
    others = iter(range(256, 512))
    return [*SPECIAL, *(chr(byte) if byte in plain else chr(next(others)) for byte in range(256)), "th", "the"]
