"""Adapters against PEFT's own arithmetic; broken ones against the line that each gives."""

from __future__ import annotations

import json
import shutil

import pytest
import torch
from adapters import adapter_folder, base_folder
from gguf_files import write_gguf
from peft import PeftModel
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM

from attnpo.collecting import model_fingerprint
from attnpo.errors import ConfigError
from attnpo.models import find_model, load_config, load_model, load_tokenizer, plain_folder

IDS = torch.tensor([[5, 9, 77, 130, 4, 21]])


def logits(model) -> torch.Tensor:
    with torch.no_grad():
        return model(IDS).logits.float()


def load(path, base_model=None, **settings):
    return load_model(find_model(str(path), base_model), device="cpu", **settings)


def line(path, base_model=None) -> str:
    with pytest.raises(ConfigError) as error:
        load(path, base_model)
    assert "\n" not in str(error.value)
    return str(error.value)


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    root = tmp_path_factory.mktemp("models")
    base = base_folder(root / "base")
    return {"base": base, "adapter": adapter_folder(root / "adapter", base)}


@pytest.fixture
def copy(folders, tmp_path):
    """A copy of the adapter, to break."""
    return shutil.copytree(folders["adapter"], tmp_path / "broken")


def change(folder, **values) -> None:
    file = folder / "adapter_config.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), **values}))


def test_in_float32_it_is_added_to_the_weights(folders):
    base = AutoModelForCausalLM.from_pretrained(folders["base"])
    expected = logits(PeftModel.from_pretrained(base, str(folders["adapter"])).eval())
    model = load(folders["adapter"])
    assert not isinstance(model, PeftModel)
    torch.testing.assert_close(logits(model), expected, rtol=1e-5, atol=1e-5)
    assert (logits(load(folders["base"])) - expected).abs().max() > 0.1


def test_in_a_half_type_small_updates_stay(folders, tmp_path):
    """Added to bfloat16 weights, an update far below their steps would be rounded away: the base would be read."""
    base = base_folder(tmp_path / "base", torch.bfloat16)
    small = adapter_folder(tmp_path / "small", base, scale=0.001)
    model = load(small, dtype="bfloat16")
    assert isinstance(model, PeftModel)
    layer = model.get_submodule("base_model.model.model.layers.0.mlp.up_proj")
    weight, update = layer.base_layer.weight, layer.get_delta_weight("adapter0")
    assert update.dtype == torch.float32
    assert (update != 0).all()
    assert (weight + update.to(torch.bfloat16) != weight).float().mean() < 0.1


def test_fingerprints_tell_adapters_apart(folders, tmp_path):
    other = adapter_folder(tmp_path / "other", folders["base"], seed=2)
    for dtype in ("float32", "bfloat16"):
        models = [load(path, dtype=dtype) for path in (folders["base"], folders["adapter"], other)]
        assert len({model_fingerprint(model) for model in models}) == 3


def test_a_base_can_be_anything(folders, tmp_path):
    """A GGUF file below an adapter, another adapter above both; the same as adding one after the other."""
    file = write_gguf(tmp_path / "m.gguf")
    first = adapter_folder(tmp_path / "first", file)
    second = adapter_folder(tmp_path / "second", first, seed=2)
    source = find_model(str(second))
    assert source.adapters == (first, second)
    assert source.is_gguf
    model = AutoModelForCausalLM.from_pretrained(plain_folder(find_model(str(file))))
    for folder in (first, second):
        model = PeftModel.from_pretrained(model, str(folder)).merge_and_unload()
    assert torch.equal(logits(load_model(source, dtype="float32", device="cpu")), logits(model.eval()))


def test_a_chain_in_a_half_type_is_read_as_it_was_trained(tmp_path):
    base = base_folder(tmp_path / "base", torch.bfloat16)
    first = adapter_folder(tmp_path / "first", base)
    second = adapter_folder(tmp_path / "second", first, seed=2)
    exact = logits(load(second, dtype="float32"))
    apart = logits(load(second, dtype="bfloat16"))
    assert (apart - exact).abs().max() < 0.1
    assert (logits(load(first, dtype="float32")) - exact).abs().max() > 0.3


def test_a_base_that_is_named_goes_before_its_own(folders, copy):
    change(copy, base_model_name_or_path="/gone/away")
    said = line(copy)
    assert said == f"--model {copy}: its base /gone/away: no such file or folder; name its base with --base_model"
    assert torch.equal(logits(load(copy, str(folders["base"]))), logits(load(folders["adapter"])))
    with pytest.raises(ConfigError, match="is no adapter, so it has no base; leave it out"):
        find_model(str(folders["base"]), "tinyworld")


def test_a_base_lies_beside_it(folders, copy):
    shutil.copytree(folders["base"], copy.parent / "base")
    change(copy, base_model_name_or_path="../base")
    assert torch.equal(logits(load(copy)), logits(load(folders["adapter"])))


def test_the_revision_of_a_base(folders, copy, monkeypatch):
    """The one that the adapter names, or the one that is asked for; through adapters in folders, to the first on the
    Hub."""
    asked = []
    monkeypatch.setattr(
        "attnpo.models.sources.find_adapter_config_file", lambda name, revision: asked.append((name, revision))
    )
    upper = shutil.copytree(copy, copy.parent / "upper")
    change(copy, base_model_name_or_path="owner/base", revision="abc")
    change(upper, base_model_name_or_path=str(copy))
    for place in (copy, upper):
        assert (find_model(str(place)).weights, find_model(str(place)).revision) == ("owner/base", "abc")
        assert find_model(str(place), revision="def").revision == "def"
    assert find_model(str(copy), "owner/other", revision="def").revision == "def"
    assert find_model(str(copy), "owner/other").revision is None
    assert set(asked) == {("owner/base", "abc"), ("owner/base", "def"), ("owner/other", "def"), ("owner/other", None)}


def test_one_on_the_hub(folders, monkeypatch):
    """Its files are fetched, and are a folder from then on; its base may be anywhere."""
    fetched = []

    def fetch(name, revision=None, allow_patterns=None):
        fetched.append((name, revision))
        if name == "owner/gone":
            raise OSError("no such repository")
        return str(folders["adapter"])

    monkeypatch.setattr("attnpo.models.sources.find_adapter_config_file", lambda name, revision: "adapter_config.json")
    monkeypatch.setattr("attnpo.models.adapters.snapshot_download", fetch)
    source = find_model("owner/lora", revision="abc")
    assert (source.name, source.weights, source.adapters) == ("owner/lora", str(folders["base"]), (folders["adapter"],))
    assert fetched == [("owner/lora", "abc")]
    assert source.revision is None  # that was the adapter's
    assert torch.equal(logits(load_model(source, device="cpu")), logits(load(folders["adapter"])))
    with pytest.raises(ConfigError, match=r"--model owner/gone: the adapter cannot be fetched \(no such repository\)"):
        find_model("owner/gone")


def test_its_own_tokenizer_and_template_go_first(folders, copy):
    assert (
        load_tokenizer(find_model(str(copy))).chat_template
        == load_tokenizer(find_model(str(folders["base"]))).chat_template
    )
    (copy / "chat_template.jinja").write_text("{{ messages[0].content }} <think>\n\n")
    tokenizer = load_tokenizer(find_model(str(copy)))
    assert tokenizer.apply_chat_template([{"role": "user", "content": "1?"}], tokenize=False) == "1? <think>\n"


def test_a_plain_folder_is_made_of_it_once(folders, cache):
    source = find_model(str(folders["adapter"]))
    folder = plain_folder(source)
    assert torch.equal(logits(load(folder)), logits(load_model(source, device="cpu")))
    assert load_tokenizer(find_model(folder)).chat_template
    assert plain_folder(source) == folder
    assert len([each for each in cache.iterdir() if each.is_dir()]) == 1


def test_a_configuration_that_is_none(copy):
    file = copy / "adapter_config.json"
    for content, said in (
        ("{", "not valid JSON"),
        ("[]", "names no peft_type"),
        ("{}", "names no peft_type"),
        ('{"peft_type": "LORA"}', "names no base model; name it with --base_model"),
    ):
        file.write_text(content)
        assert f"--model {copy}: adapter_config.json" in line(copy)
        assert said in line(copy)


def test_a_kind_that_is_not_known(folders, copy):
    change(copy, peft_type="LORRA")
    assert "save the adapter with PEFT again" in line(copy)
    file = copy / "adapter_config.json"
    base = str(folders["base"])
    prefix = {
        "peft_type": "PREFIX_TUNING",
        "base_model_name_or_path": base,
        "num_virtual_tokens": 4,
        "task_type": "CAUSAL_LM",
    }
    file.write_text(json.dumps(prefix))
    assert "PREFIX_TUNING puts tokens before the prompt; only adapters of layers, such as LoRA, are read" in line(copy)


def test_weights_that_are_not_there(copy):
    file = copy / "adapter_model.safetensors"
    content = file.read_bytes()
    file.write_bytes(content[: len(content) // 2])
    assert "adapter_model.safetensors is cut off or no safetensors file" in line(copy)
    file.unlink()
    assert "has no adapter_model.safetensors" in line(copy)


def test_weights_of_another_base(folders, copy, tmp_path):
    wider = base_folder(tmp_path / "wider", hidden_size=64)
    said = line(copy, str(wider))
    assert "has shape 4 x 32, on" in said
    assert "it must be 4 x 64; it belongs to another base: name that with --base_model" in said
    named = adapter_folder(tmp_path / "named", folders["base"], target_modules=["q_proj", "up_proj"])
    deeper = base_folder(tmp_path / "deeper", num_hidden_layers=3)
    assert "adapter_model.safetensors lacks base_model.model.model.layers.2." in line(named, str(deeper))
    flatter = base_folder(tmp_path / "flatter", num_hidden_layers=1)
    assert "belongs to no layer of" in line(copy, str(flatter))
    change(copy, target_modules=["c_attn"])
    assert "does not fit" in line(copy)


def test_nothing_heavy_is_loaded_before(folders, copy, monkeypatch):
    weights = load_file(copy / "adapter_model.safetensors")
    save_file(
        {name: torch.zeros(3, 3) for name in weights}, copy / "adapter_model.safetensors", metadata={"format": "pt"}
    )
    monkeypatch.setattr(AutoModelForCausalLM, "from_pretrained", None)
    assert "has shape 3 x 3" in line(copy)
    with pytest.raises(ConfigError, match="has shape 3 x 3"):
        load_config(find_model(str(copy)))


def test_a_circle(folders, copy):
    change(copy, base_model_name_or_path=str(copy))
    assert "its base is an adapter whose base leads back to it" in line(copy)


def test_without_peft(copy, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "peft", None)
    assert line(copy) == (
        f"--model {copy}: is a PEFT adapter, and peft is not installed; pip install '.[peft]' in the clone of attnpo"
    )
