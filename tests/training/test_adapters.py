"""LoRA and quantised weights as TRL's users set them; training on adapters and on GGUF files."""

from __future__ import annotations

import importlib.util
import json
import sys
from types import SimpleNamespace

import pytest
import torch
from adapters import adapter_folder, base_folder
from gguf_files import write_gguf
from peft import LoraConfig, PeftModel
from small_training import config
from transformers import Qwen2Config

from attnpo.errors import ConfigError
from attnpo.models import find_model, load_model, plain_folder
from attnpo.tinyworld import label_steps
from attnpo.training import AdapterSettings, AttnPOTrainer
from attnpo.training import precision as precision_file
from attnpo.training.components import settle_dtype
from attnpo.training.estimate import MATRIX_BYTES, meta_model, model_shape, with_lora


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")


def test_the_defaults():
    assert AdapterSettings().lora() is None
    lora = AdapterSettings(use_peft=True).lora()
    assert (lora.r, lora.lora_alpha, lora.lora_dropout, lora.target_modules) == (16, 32, 0.0, "all-linear")
    assert AdapterSettings().model_options({}) == {}
    assert AdapterSettings().quantization("float32") is None


def test_what_differs_from_the_defaults():
    assert AdapterSettings().changed() == {}
    settings = AdapterSettings(use_peft=True, lora_r=8, lora_target_modules=["q_proj"])
    assert settings.changed() == {"use_peft": True, "lora_r": 8, "lora_target_modules": ["q_proj"]}


def test_trls_settings_arrive():
    settings = AdapterSettings(
        use_peft=True,
        lora_r=4,
        lora_dropout=0.1,
        lora_target_modules=["q_proj", "v_proj"],
        lora_modules_to_save=["norm"],
        use_rslora=True,
        use_dora=True,
    )
    lora = settings.lora()
    assert (lora.r, lora.lora_dropout, set(lora.target_modules)) == (4, 0.1, {"q_proj", "v_proj"})
    assert lora.use_rslora
    assert lora.use_dora
    assert lora.modules_to_save == ["norm"]


def test_a_type_of_the_weights():
    settings = AdapterSettings(dtype="bfloat16", attn_implementation="eager")
    assert settings.model_options({"revision": "x"}) == {
        "revision": "x",
        "dtype": "bfloat16",
        "attn_implementation": "eager",
    }
    with pytest.raises(ConfigError, match="dtype: bfloat16, but model_init_kwargs says float32; leave one of them out"):
        settings.model_options({"dtype": "float32"})
    with pytest.raises(ConfigError, match=r"--dtype float23: choose one of .*did you mean float32"):
        AdapterSettings(dtype="float23")


def test_quantised_weights(monkeypatch):
    with pytest.raises(ConfigError, match="load_in_4bit: quantised weights cannot be trained themselves; add use_peft"):
        AdapterSettings(load_in_4bit=True)
    with pytest.raises(ConfigError, match="8 bit and 4 bit precision at the same time; leave one of them out"):
        AdapterSettings(load_in_4bit=True, load_in_8bit=True, use_peft=True)
    settings = AdapterSettings(load_in_4bit=True, use_peft=True)
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "bitsandbytes" else find(name))
    with pytest.raises(
        ConfigError, match="load_in_4bit: bitsandbytes is not installed; pip install it, or leave it out"
    ):
        settings.quantization("bfloat16")


def test_quantised_weights_are_computed_in_what_layers_are(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: object())
    made = []
    monkeypatch.setattr("attnpo.training.adapters.get_quantization_config", lambda given: made.append(given))
    AdapterSettings(load_in_4bit=True, use_peft=True).quantization("bfloat16")
    AdapterSettings(load_in_4bit=True, use_peft=True, dtype="float16").quantization("bfloat16")
    assert [given.dtype for given in made] == ["bfloat16", "float16"]
    assert all(given.load_in_4bit for given in made)


def test_without_peft(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ConfigError, match=r"--use_peft: peft is not installed; pip install '\.\[peft\]' in the clone"):
        AdapterSettings(use_peft=True).lora()


def test_only_matrices_are_packed():
    """q 8x8, k and v 4x8, o 8x8, gate and up and down 8x16; biases, norms, embedding and head stay as they are."""
    tiny = Qwen2Config(
        vocab_size=100, hidden_size=8, intermediate_size=16, num_hidden_layers=3, num_attention_heads=2,
        num_key_value_heads=1, tie_word_embeddings=False,
    )  # fmt: skip
    lora = LoraConfig(r=2, task_type="CAUSAL_LM", target_modules="all-linear", use_dora=True)
    shape = model_shape(with_lora(meta_model(tiny), lora))
    assert shape.matrices == 3 * (64 + 32 + 32 + 64 + 3 * 128)
    assert shape.largest_matrix == 128
    assert model_shape(meta_model(tiny)).matrices == 0
    assert MATRIX_BYTES["load_in_4bit"] == pytest.approx(0.5625)


def test_a_processor_without_bfloat16_trains_in_float32(tmp_path, monkeypatch):
    for has, given, expected in ((False, None, False), (True, None, True), (False, True, True), (True, False, False)):
        monkeypatch.setattr(precision_file, "cpu_computes_in_bfloat16", lambda has=has: has)
        assert config(tmp_path / "run", bf16=given).bf16 is expected


def test_auto_is_settled_before_the_weights_are_loaded(tmp_path, monkeypatch):
    monkeypatch.setattr("attnpo.models.devices.cpu_computes_in_bfloat16", lambda: False)
    source = find_model(str(base_folder(tmp_path / "base", torch.bfloat16)))
    saved = SimpleNamespace(dtype=torch.bfloat16)
    for given, expected in (({"dtype": "auto"}, "float32"), ({"dtype": "bfloat16"}, "bfloat16")):
        args = config(tmp_path / "run", model_init_kwargs=given)
        settle_dtype(args, source, saved)
        assert args.model_options()["dtype"] == expected
    args = config(tmp_path / "run")
    settle_dtype(args, source, saved)
    assert args.model_init_kwargs is None


def test_training_goes_on_above_an_adapter(tmp_path, problems):
    """The old one is added to its base, the new one names what it was trained on, and loads with all below it."""
    base = base_folder(tmp_path / "base", max_position_embeddings=512)
    first = adapter_folder(tmp_path / "first", base)
    trainer = AttnPOTrainer(
        str(first),
        config(tmp_path / "run", method="rloo", max_completion_length=16, learning_rate=1e-2),
        problems,
        reward_funcs=[lambda completion_ids, **_: [float(sum(ids) % 7) for ids in completion_ids]],
        peft_config=LoraConfig(r=2, target_modules="all-linear", task_type="CAUSAL_LM"),
    )
    trainer.train()
    trainer.save_model()
    trainer.verifier.close()
    second = tmp_path / "run"
    assert json.loads((second / "adapter_config.json").read_text())["base_model_name_or_path"] == str(first)
    assert find_model(str(second)).adapters == (first, second)
    ids = torch.tensor([[5, 9, 77, 130]])
    with torch.no_grad():
        expected = trainer.model.eval()(ids).logits
        found = load_model(find_model(str(second)), device="cpu")(ids).logits
        before = load_model(find_model(str(first)), device="cpu")(ids).logits
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)
    assert isinstance(trainer.model, PeftModel)
    assert (before - expected).abs().max() > 1e-3
    assert plain_folder(find_model(str(first))).startswith(str(tmp_path / "cache"))


def test_responses_end_where_the_template_ends_turns(tmp_path, problems):
    """The GGUF file names <|endoftext|> alone."""
    pytest.importorskip("gguf", reason="GGUF files are read with gguf")
    source = str(write_gguf(tmp_path / "m.gguf"))
    trainer = AttnPOTrainer(source, config(tmp_path / "run", method="rloo"), problems)
    trainer.verifier.close()
    assert set(trainer.eos_token_ids) == {0, 2}
    assert trainer.model.generation_config.eos_token_id == [0, 2]
    assert trainer.processing_class.chat_template


@pytest.mark.parametrize("own", [None, "def"])
def test_a_saved_adapter_names_the_revision_of_its_base(tmp_path, problems, own):
    args = config(tmp_path / "run", method="rloo", model_init_kwargs={"revision": "abc"})
    lora = LoraConfig(r=2, target_modules="all-linear", task_type="CAUSAL_LM", revision=own)
    trainer = AttnPOTrainer(str(base_folder(tmp_path / "base")), args, problems, peft_config=lora)
    trainer.verifier.close()
    trainer.save_model()
    saved = json.loads((tmp_path / "run" / "adapter_config.json").read_text())
    assert saved["revision"] == (own or "abc")


def test_a_plain_folder_keeps_its_name_as_base(tmp_path, problems):
    base = base_folder(tmp_path / "base")
    trainer = AttnPOTrainer(
        str(base),
        config(tmp_path / "run", heads="1.0"),
        problems,
        labeler=label_steps,
        peft_config=AdapterSettings(use_peft=True, lora_r=2).lora(),
    )
    trainer.verifier.close()
    assert trainer.model.peft_config["default"].base_model_name_or_path == str(base)
    assert "bitsandbytes" not in sys.modules
