"""The small world's model: a Qwen2 decoder of about a million parameters, and where its checkpoint ships."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
from transformers import PreTrainedTokenizerFast, Qwen2Config, Qwen2ForCausalLM

from attnpo.errors import ConfigError

MAX_POSITIONS = 1024
EMBEDDING_STD = 0.08
HEAD_DIM = 32


@dataclass(frozen=True)
class ModelSize:
    """Width and depth of the model; the shipped checkpoint has the defaults."""

    hidden_size: int = 128
    num_hidden_layers: int = 4

    def __post_init__(self) -> None:
        if self.hidden_size < 1 or self.hidden_size % (2 * HEAD_DIM):
            raise ConfigError(f"hidden_size is {self.hidden_size}; give a multiple of {2 * HEAD_DIM}")
        if self.num_hidden_layers < 1:
            raise ConfigError(f"num_hidden_layers is {self.num_hidden_layers}; give 1 or more")


def checkpoint_path() -> Path:
    """The folder of the pretrained checkpoint that ships with the package (model, tokenizer, model card)."""
    return Path(__file__).parent / "checkpoint"


def build_model(tokenizer: PreTrainedTokenizerFast, seed: int = 0, size: ModelSize | None = None) -> Qwen2ForCausalLM:
    """A freshly initialised model for the world's tokenizer."""
    size = size or ModelSize()
    config = Qwen2Config(
        vocab_size=len(tokenizer),
        hidden_size=size.hidden_size,
        intermediate_size=4 * size.hidden_size,
        num_hidden_layers=size.num_hidden_layers,
        num_attention_heads=size.hidden_size // HEAD_DIM,
        num_key_value_heads=size.hidden_size // (2 * HEAD_DIM),
        max_position_embeddings=MAX_POSITIONS,
        tie_word_embeddings=True,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = Qwen2ForCausalLM(config)
        # Wider than Qwen2's 0.02: at this width copying names is learned in half the steps.
        torch.nn.init.normal_(model.model.embed_tokens.weight, std=EMBEDDING_STD)
    model.generation_config.update(
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
        do_sample=True,
        temperature=1.0,
    )
    return model
