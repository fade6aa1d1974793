"""An engine with a model of its own gives its memory back before the model is loaded that scores are read in."""

from __future__ import annotations

import sys

import pytest
from fake_vllm import RUNNING, fake_vllm
from transformers import AutoModelForCausalLM

from attnpo.cli.main import main
from attnpo.sampling import TransformersSampler, VLLMSampler
from attnpo.tinyworld import checkpoint_path
from attnpo.workbench import loading

SETTINGS = {
    "model": "tinyworld",
    "data": "tinyworld",
    "device": "cpu",
    "engine": "vllm",
    "num_problems": 12,
    "samples_per_problem": 2,
    "max_new_tokens": 256,
    "min_pass_rate": 0,
    "segmentation": "paragraphs",
    "verifier": "exact",
    "labeler": "attnpo.tinyworld:label_steps",
    "signals": "none",
    "random_model": "false",
    "resamples": 50,
}
INTERVENE = {"intervene": "true", "intervention_traces": 2, "intervention_samples": 1, "intervention_max_new_tokens": 8}


@pytest.fixture
def events(monkeypatch):
    """What happens to the GPU, in order: an engine starts, is cleaned up behind, the model is loaded."""
    found: list[str] = []
    modules = fake_vllm()
    for name, module in modules.items():
        monkeypatch.setitem(sys.modules, name, module)
    started, opened = modules["vllm"].LLM, loading.open_model
    own = TransformersSampler(AutoModelForCausalLM.from_pretrained(checkpoint_path()), None)

    def start(**options):
        found.append("engine")
        return started(**options)

    def load(*arguments):
        assert not RUNNING
        found.append("model")
        return opened(*arguments)

    def sample(self, requests, params):
        own.tokenizer = self._tokenizer
        assert self._llm.llm_engine
        yield from own.sample(requests, params)

    modules["vllm"].LLM = start
    monkeypatch.setattr(modules["vllm.distributed"], "cleanup_dist_env_and_memory", lambda: found.append("cleaned"))
    monkeypatch.setattr(loading, "open_model", load)
    monkeypatch.setattr(VLLMSampler, "sample", sample)
    return found


def discover(folder, **changed) -> None:
    given = {**SETTINGS, "output_dir": folder, **changed}
    main(["discover", *(part for name, value in given.items() for part in (f"--{name}", str(value)))])


def test_discovery_and_verification(events, tmp_path):
    discover(tmp_path / "heads")
    assert events == ["engine", "cleaned", "model"]
    events.clear()
    discover(tmp_path / "again", verify=tmp_path / "heads" / "heads.json", problems_seed=1)
    assert events == ["engine", "cleaned", "model"]
    assert not RUNNING


def test_an_intervention_starts_it_anew(events, tmp_path):
    discover(tmp_path / "heads", **INTERVENE)
    assert events == ["engine", "cleaned", "model", "engine", "cleaned"]
