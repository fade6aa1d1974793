"""What is said of heads on models that are read from the cache: the model's own name, never the folder there."""

from __future__ import annotations

import pytest
from adapters import adapter_folder
from datasets import Dataset
from gguf_files import write_gguf
from small_training import config

from attnpo.models import NAMED, find_model, load_config
from attnpo.training import AttnPOTrainer
from attnpo.workbench.loading import read_heads

pytest.importorskip("gguf", reason="GGUF files are read with gguf")


@pytest.fixture(autouse=True)
def models(tmp_path, monkeypatch):
    """A GGUF file that has a name, two adapters above it; a cache of the test's own."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    file = write_gguf(tmp_path / "m.gguf")
    monkeypatch.setitem(NAMED, "small", lambda said: file)
    adapter_folder(tmp_path / "one", "small")
    adapter_folder(tmp_path / "two", "small", seed=2)
    monkeypatch.chdir(tmp_path)


def found_on(name: str, spec: str = "1.2") -> str:
    source = find_model(name)
    return read_heads(spec, load_config(source), source).model_id


@pytest.mark.parametrize("name", ["small", "m.gguf", "one"])
def test_heads_given_by_number_are_of_the_model_as_it_was_named(caplog, name):
    assert found_on(name) == name
    assert "heads:" not in caplog.text


def test_heads_of_an_adapter_are_another_models_on_one_beside_it(tmp_path, caplog):
    """Both are read with the configuration of one base; on what lies above its own model a head set is at home."""
    for origin, read_on, warned in (("one", "two", 1), ("one", "one", 0), ("small", "two", 0), ("one", "small", 1)):
        caplog.clear()
        source = find_model(origin)
        read_heads("1.2", load_config(source), source).save(tmp_path / "heads.json")
        assert found_on(read_on, "heads.json") == origin
        assert caplog.text.count(f"heads: found on {origin}; --model {read_on} is neither") == warned
        assert caplog.text.count("heads:") == warned


def test_a_trainer_knows_its_model_by_name(tmp_path, caplog):
    problem = {"prompt": [{"role": "user", "content": "1 + 1?"}], "solution": "2"}
    args = config(tmp_path / "run", max_completion_length=16, heads="1.2")
    trainer = AttnPOTrainer(find_model("one"), args, Dataset.from_list([problem] * 8))
    trainer.verifier.close()
    given = trainer.head_set
    assert given.model_id == "one"
    trainer.use_heads("1.3")
    assert trainer.head_set.model_id == "one"
    other = given.model_copy(update={"model_id": "owner/other"})
    AttnPOTrainer(find_model("one"), args, Dataset.from_list([problem] * 8), heads=other).verifier.close()
    assert "heads: found on owner/other; model one is neither that model nor" in caplog.text
