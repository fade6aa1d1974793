"""Model folders without weights: real shapes, the small world's tokenizer."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

from transformers import Qwen2Config, Qwen3Config

from attnpo.tinyworld import checkpoint_path

QWEN_1_5B = {
    "vocab_size": 151936,
    "hidden_size": 1536,
    "intermediate_size": 8960,
    "num_hidden_layers": 28,
    "num_attention_heads": 12,
    "num_key_value_heads": 2,
    "max_position_embeddings": 131072,
    "tie_word_embeddings": False,
}
"""The shape of DeepSeek-R1-Distill-Qwen-1.5B: 1,777,088,000 parameters."""
QWEN_7B = {
    "vocab_size": 152064,
    "hidden_size": 3584,
    "intermediate_size": 18944,
    "num_hidden_layers": 28,
    "num_attention_heads": 28,
    "num_key_value_heads": 4,
    "max_position_embeddings": 131072,
    "tie_word_embeddings": False,
}
"""The shape of DeepSeek-R1-Distill-Qwen-7B: 7,615,616,512 parameters."""
QWEN3_1_7B = {
    "vocab_size": 151936,
    "hidden_size": 2048,
    "intermediate_size": 6144,
    "num_hidden_layers": 28,
    "num_attention_heads": 16,
    "num_key_value_heads": 8,
    "head_dim": 128,
    "max_position_embeddings": 40960,
    "tie_word_embeddings": True,
}
"""The shape of Qwen3-1.7B: 1,720,574,976 parameters."""


def model_folder(path: Path, **config) -> Path:
    """Write configuration and tokenizer of a model that has no weights: Qwen3 where `head_dim` is given, else Qwen2."""
    path.mkdir(parents=True, exist_ok=True)
    (Qwen3Config if "head_dim" in config else Qwen2Config)(**config).save_pretrained(path)
    for name in ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja"):
        shutil.copy(checkpoint_path() / name, path / name)
    return path


def problems_file(path: Path, count: int = 400) -> Path:
    """Write problems in DeepScaleR's columns."""
    rows = [{"problem": f"What is {i} + {i}?", "answer": str(2 * i), "solution": "…"} for i in range(count)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path
