"""Head sets that ship: they can be named, and fit the models they were published for."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import yaml
from transformers import AutoModelForCausalLM, Qwen2Config

from attnpo.attention import Head, HeadSet, check_readable, config_fingerprint, published_head_sets, resolve_heads
from attnpo.errors import HeadSetError

NAME = "deepseek-r1-distill-qwen-1.5b"
RECIPE = Path(__file__).parents[2] / "recipes" / "deepseek-r1-distill-qwen-1.5b.yaml"


@pytest.fixture(scope="module")
def config() -> Qwen2Config:
    """What the model's config.json states."""
    return Qwen2Config(
        vocab_size=151936,
        hidden_size=1536,
        intermediate_size=8960,
        num_hidden_layers=28,
        num_attention_heads=12,
        num_key_value_heads=2,
        max_position_embeddings=131072,
        max_window_layers=21,
        rms_norm_eps=1e-6,
        rope_theta=10000.0,
        use_sliding_window=False,
        tie_word_embeddings=False,
        bos_token_id=151643,
        eos_token_id=151643,
    )


def test_the_published_heads_can_be_read_on_their_model(config):
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(config)
    assert sum(parameter.numel() for parameter in model.parameters()) == 1_777_088_000
    head_set = resolve_heads(NAME, model.config)
    assert head_set.heads == [Head(16, 2), Head(20, 9), Head(23, 2)]
    assert head_set.found_by == "published"
    check_readable(model, head_set.heads)


def test_the_name_is_not_case_sensitive_and_a_file_of_that_name_comes_first(config, tmp_path, monkeypatch):
    assert resolve_heads("DeepSeek-R1-Distill-Qwen-1.5B", config).heads[0] == Head(16, 2)
    monkeypatch.chdir(tmp_path)
    resolve_heads("3.1", config).save(NAME)
    assert resolve_heads(NAME, config).heads == [Head(3, 1)]


def test_published_heads_do_not_fit_another_model():
    other = Qwen2Config(num_hidden_layers=28, num_attention_heads=28, num_key_value_heads=4, hidden_size=3584)
    with pytest.raises(HeadSetError, match=f"^{NAME}: the heads were found on deepseek-ai/DeepSeek-R1-Distill-Qwen"):
        resolve_heads(NAME, other)


def test_an_unknown_name_lists_those_that_ship(config):
    with pytest.raises(HeadSetError, match=f"no such head-set file.*or name a head set that ships: {NAME}$"):
        resolve_heads("deepseek", config)


def test_every_file_that_ships_is_whole():
    for name, path in published_head_sets().items():
        head_set = HeadSet.load(path)
        assert name == name.lower()
        assert head_set.evidence["source"]
        assert head_set.config_fingerprint.startswith("model_type=")


def test_the_recipe_starts_from_them(config):
    recipe = yaml.safe_load(RECIPE.read_text(encoding="utf-8"))
    assert recipe["heads"] == NAME
    assert recipe["model"] == resolve_heads(recipe["heads"], config).model_id
    assert config_fingerprint(config) == resolve_heads(recipe["heads"], config).config_fingerprint
