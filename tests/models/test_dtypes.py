"""Which type a model is computed in, by processor, device and setting."""

from __future__ import annotations

import json
import logging

import pytest
import torch
from adapters import adapter_folder, base_folder
from gguf_files import write_gguf

from attnpo.errors import ConfigError
from attnpo.models import devices, find_model, load_config, load_model, model_dtype
from attnpo.models.devices import chosen_dtype
from attnpo.sampling import EngineSettings
from attnpo.workbench.arguments import DataArguments, ModelArguments, StepArguments
from attnpo.workbench.loading import open_session

BF16, F16, F32 = torch.bfloat16, torch.float16, torch.float32


@pytest.mark.parametrize(
    ("name", "saved", "device", "has", "chosen"),
    [
        ("auto", BF16, "cpu", False, F32),
        ("auto", BF16, "cpu", True, BF16),
        ("auto", F16, "cpu", True, F32),
        ("auto", F32, "cpu", True, F32),
        ("auto", None, "cpu", True, F32),
        ("auto", BF16, "cuda:1", False, BF16),
        ("auto", F32, "cuda", False, F32),
        ("auto", None, "cuda", False, None),
        ("bfloat16", F32, "cpu", False, BF16),
        ("float32", BF16, "cuda", False, F32),
    ],
)
def test_choices(monkeypatch, name, saved, device, has, chosen):
    monkeypatch.setattr(devices, "cpu_computes_in_bfloat16", lambda: has)
    assert chosen_dtype(name, saved, device) == chosen


def test_no_such_type():
    with pytest.raises(ConfigError, match=r"--dtype bf16: choose one of"):
        chosen_dtype("bf16", None, "cpu")


def test_it_is_said_and_bound_to_results(tmp_path, monkeypatch, caplog):
    """Two machines that compute the same model in two types do not go on with each other's results."""
    caplog.set_level(logging.INFO, "attnpo")
    arguments = ModelArguments(model=str(base_folder(tmp_path / "base", BF16)), device="cpu")
    found = []
    for has in (False, True):
        monkeypatch.setattr(devices, "cpu_computes_in_bfloat16", lambda has=has: has)
        session = open_session(arguments, DataArguments(), StepArguments(), EngineSettings(), problems=[])
        found.append(session.context)
        assert session.model.dtype == (BF16 if has else F32)
    assert [context.pop("dtype") for context in found] == ["float32", "bfloat16"]
    assert found[0] == found[1]
    said = [record.getMessage() for record in caplog.records]
    assert said == [
        f"--model {tmp_path}/base: computed in float32; this processor has no arithmetic for bfloat16",
        f"--model {tmp_path}/base: computed in bfloat16, which this processor has arithmetic for",
    ]


def test_a_type_that_no_configuration_names_is_that_of_the_model(tmp_path, monkeypatch):
    folder = base_folder(tmp_path / "base", BF16)
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({k: v for k, v in config.items() if k != "dtype"}))
    monkeypatch.setattr("attnpo.workbench.loading.chosen_dtype", lambda *_: None)
    arguments = ModelArguments(model=str(folder), device="cpu")
    session = open_session(arguments, DataArguments(), StepArguments(), EngineSettings(), problems=[])
    assert session.context["dtype"] == str(session.model.dtype).removeprefix("torch.")


def test_what_was_dequantised_is_meant_for_bfloat16(tmp_path):
    pytest.importorskip("gguf", reason="GGUF files are read with gguf")
    file = write_gguf(tmp_path / "m.gguf")
    for path in (file, adapter_folder(tmp_path / "adapter", file)):
        source = find_model(str(path))
        assert model_dtype(source, "auto", "cuda", load_config(source)) == BF16
    assert load_model(source, dtype="float16", device="cpu").dtype == F16
