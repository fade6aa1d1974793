"""Small models and PEFT adapters on them, in folders."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig, get_peft_model
from transformers import AutoModelForCausalLM, Qwen2Config, Qwen2ForCausalLM

from attnpo.models import find_model, plain_folder
from attnpo.tinyworld import checkpoint_path

SHAPE: dict[str, Any] = {
    "vocab_size": 561,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 512,
    "tie_word_embeddings": False,
    "eos_token_id": 2,
    "pad_token_id": 0,
}


def base_folder(path: Path, dtype: torch.dtype = torch.float32, **shape: Any) -> Path:
    """Write a model of random weights with the small world's tokenizer."""
    torch.manual_seed(0)
    Qwen2ForCausalLM(Qwen2Config(**SHAPE | shape)).to(dtype).save_pretrained(path)
    for name in ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja"):
        shutil.copy(checkpoint_path() / name, path / name)
    return path


def adapter_folder(path: Path, base: str | Path, seed: int = 1, scale: float = 0.1, **settings: Any) -> Path:
    """Write an adapter whose weights are not zero; its configuration names the base as given."""
    torch.manual_seed(seed)
    model = AutoModelForCausalLM.from_pretrained(plain_folder(find_model(str(base))))
    options = {"r": 4, "target_modules": "all-linear", "task_type": "CAUSAL_LM", **settings}
    wrapped = get_peft_model(model, LoraConfig(**options))
    for name, weights in wrapped.named_parameters():
        if "lora_" in name:
            torch.nn.init.normal_(weights, std=scale)
    wrapped.peft_config["default"].base_model_name_or_path = str(base)
    wrapped.save_pretrained(path)
    (path / "README.md").unlink(missing_ok=True)
    return path
