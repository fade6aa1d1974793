"""A stand-in for the model of real English: a random Llama of bytes, and a verdict that finds some such text right."""

from __future__ import annotations

import zlib
from pathlib import Path

import torch
from byte_tokenizer import byte_tokenizer
from transformers import LlamaConfig, LlamaForCausalLM


def random_llama(folder: Path) -> Path:
    """Write a random model of 2 layers x 2 heads with its tokenizer, whose template opens the think part."""
    tokenizer = byte_tokenizer("<think>\n", adds_bos=False)
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=16,
        intermediate_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=1,
        max_position_embeddings=2048,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    model = LlamaForCausalLM(config)
    with torch.no_grad():  # it often closes its think part, and ends
        for token in ("</think>", tokenizer.eos_token):
            model.lm_head.weight[tokenizer.convert_tokens_to_ids(token)].normal_()
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def judge(response: str, solution: str) -> bool:
    """Call every second response right, by its text alone."""
    return zlib.crc32(response.encode()) % 2 == 0
