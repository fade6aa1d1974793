"""Results on disk are those of the weights that made them, whatever engine sampled them."""

from __future__ import annotations

import json
import shutil
import sys

import pytest
from fake_server import FakeServer, completion
from fake_vllm import fake_vllm
from safetensors.torch import load_file, save_file
from server_replies import LLAMA_CPP, vllm_pages

from attnpo.attention import resolve_heads
from attnpo.cli import evaluate as evaluate_command
from attnpo.collecting import files_fingerprint
from attnpo.discovery import DiscoverySettings
from attnpo.errors import ConfigError, OutputError
from attnpo.evaluation import EvaluationResult
from attnpo.sampling import SampledResponse, VLLMSampler
from attnpo.tinyworld import checkpoint_path
from attnpo.workbench import loading, proving
from attnpo.workbench.arguments import DataArguments, DiscoverArguments, ModelArguments, StepArguments
from attnpo.workbench.loading import open_session
from attnpo.workbench.proving import Proving

SMALL = {
    "data": "tinyworld",
    "device": "cpu",
    "num_problems": 1,
    "samples_per_problem": 2,
    "max_new_tokens": 8,
    "verifier": "exact",
    "segmentation": "paragraphs",
    "resamples": 50,
}


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@pytest.fixture
def model(tmp_path):
    shutil.copytree(checkpoint_path(), tmp_path / "model")
    return tmp_path / "model"


def retrain(model) -> None:
    """Add a little to one tensor."""
    file = model / "model.safetensors"
    tensors = load_file(file)
    tensors[max(tensors)] += 0.01
    save_file(tensors, file, metadata={"format": "pt"})


def evaluate(tmp_path, model, **settings) -> None:
    given = {**SMALL, "model": model, "output_dir": tmp_path / "out", **settings}
    evaluate_command.run([part for name, value in given.items() for part in (f"--{name}", str(value))])


@pytest.fixture
def vllm(monkeypatch):
    """A vLLM that draws and never loads anything; once responses are there, none may be started."""
    modules, drawn = fake_vllm(), []
    for name, module in modules.items():
        monkeypatch.setitem(sys.modules, name, module)
    started = modules["vllm"].LLM

    def start(**options):
        assert not drawn, "the engine is not wanted"
        return started(**options)

    modules["vllm"].LLM = start

    def sample(self, requests, params):
        assert self._llm.dtype == "float32"  # vLLM's own choice would be a half type
        for index, _ in enumerate(requests):
            drawn.append(index)
            yield index, SampledResponse([5, 1], True)

    monkeypatch.setattr(VLLMSampler, "sample", sample)
    return drawn


def test_vllm_results_are_not_those_of_weights_that_took_their_place(vllm, tmp_path, model):
    evaluate(tmp_path, model, engine="vllm")
    evaluate(tmp_path, model, engine="vllm")
    assert vllm == [0, 1]
    assert EvaluationResult.load(tmp_path / "out" / "evaluation.json").settings["dtype"] == "float32"
    with pytest.raises(OutputError, match="temperature"):
        evaluate(tmp_path, model, engine="vllm", temperature=0.5)
    retrain(model)
    with pytest.raises(OutputError, match=r"holds results of other settings: weights \(there '\w+', asked '\w+'\);"):
        evaluate(tmp_path, model, engine="vllm")


def test_a_type_that_nobody_names_is_asked_for_before_the_engine_starts(vllm, tmp_path, model):
    config = json.loads((model / "config.json").read_text())
    del config["dtype"]
    (model / "config.json").write_text(json.dumps(config))
    with pytest.raises(ConfigError, match="--dtype auto: the model's configuration does not say its type"):
        evaluate(tmp_path, model, engine="vllm")
    evaluate(tmp_path, model, engine="vllm", dtype="float32")
    assert vllm == [0, 1]


def test_a_servers_results_are_those_of_the_weights_it_says_it_serves(tmp_path, model, caplog):
    with FakeServer(lambda request: completion("four", prompt_tokens=len(request.body["prompt"]), tokens=7)) as server:
        settings = {"engine": "server", "base_url": server.base_url, "served_model": "m", "model": "tinyworld"}
        server.pages = vllm_pages(model)
        evaluate(tmp_path, **settings)
        result = EvaluationResult.load(tmp_path / "out" / "evaluation.json")
        assert result.overall.response_tokens.value == 7  # as the server counts, however many the text is cut into
        facts = result.settings["served"]
        assert facts["weights"] == files_fingerprint(model)
        assert (facts["version"], facts["dtype"], "created" in facts) == ("0.31.0", "torch.float32", False)
        asked = len(server.requests)
        server.pages = vllm_pages(model, instance="2", created=2)
        evaluate(tmp_path, **settings)
        assert len(server.requests) == asked
        retrain(model)
        with pytest.raises(OutputError, match=r"of other settings: served\.weights \(there"):
            evaluate(tmp_path, **settings)
        server.pages = vllm_pages(tmp_path / "elsewhere")
        with pytest.raises(OutputError, match=r"of other settings: served\.model \(there"):
            evaluate(tmp_path, **settings)
        server.die()
        evaluate(tmp_path, **settings)
        assert "is away; the finished results in" in caplog.text
        server.come_back()


def test_llama_cpp_says_where_the_weights_lie_that_it_serves_by_another_name(tmp_path, model):
    with FakeServer(lambda request: completion("four", prompt_tokens=len(request.body["prompt"]))) as server:
        settings = {"engine": "server", "base_url": server.base_url, "served_model": "small", "model": "tinyworld"}
        entry = {"id": "small", "object": "model", "created": 1, "owned_by": "llamacpp", "meta": {"n_params": 1}}
        server.pages = {
            "/v1/models": LLAMA_CPP.filled("models", {"models": [], "object": "list", "data": [entry]}),
            "/props": {"model_path": str(model / "model.safetensors"), "total_slots": 4},
        }
        evaluate(tmp_path, **settings)
        retrain(model)
        with pytest.raises(OutputError, match=r"of other settings: served\.weights \(there"):
            evaluate(tmp_path, **settings)


def table(capsys) -> list[str]:
    """What is printed but bars and times."""
    return [line for line in capsys.readouterr().out.splitlines() if "━" not in line and "minutes" not in line]


def test_a_finished_evaluation_is_shown_and_a_refusal_made_without_the_model(tmp_path, model, monkeypatch, capsys):
    evaluate(tmp_path, model)
    shown = table(capsys)

    def load_model(*_, **__):
        raise AssertionError("the model is not wanted")

    monkeypatch.setattr(loading, "load_model", load_model)
    evaluate(tmp_path, model)
    assert table(capsys) == shown
    with pytest.raises(OutputError, match="temperature"):
        evaluate(tmp_path, model, temperature=0.5)
    retrain(model)
    with pytest.raises(AssertionError):  # of these weights nothing is known
        evaluate(tmp_path, model)


def test_what_tells_checkpoints_apart(tmp_path, model):
    first = files_fingerprint(model)
    (model / "README.md").write_text("another text")
    shutil.copytree(model, tmp_path / "copy")
    assert files_fingerprint(tmp_path / "copy") == first
    config = model / "config.json"
    config.write_text(config.read_text().replace('"transformers_version": "', '"transformers_version": "9'))
    assert files_fingerprint(model) == first
    seen = {first}
    for name in sorted(load_file(model / "model.safetensors"))[:3]:
        tensors = load_file(model / "model.safetensors")
        tensors[name] *= 1.01
        save_file(tensors, model / "model.safetensors", metadata={"format": "pt"})
        seen.add(files_fingerprint(model))
    assert len(seen) == 4
    assert files_fingerprint(tmp_path / "cache" / "..") is None


def test_answers_to_cut_traces_do_not_depend_on_what_labels_the_steps(tmp_path, monkeypatch):
    asked = []
    monkeypatch.setattr(proving, "intervene", lambda *_, context, **__: asked.append(context))
    monkeypatch.setattr(proving, "save_intervention", lambda *_: None)
    for labeler in ("attnpo.tinyworld:label_steps", "causal"):
        model, data = ModelArguments(model="tinyworld", device="cpu"), DataArguments()
        steps = StepArguments(verifier="exact", segmentation="paragraphs", labeler=labeler)
        session = open_session(model, data, steps, problems=[])
        assert session.context.keys() - session.context_of_responses.keys() == {"labeler"}
        asks = DiscoverArguments(intervene=True)
        found = Proving(asks, model, DiscoverySettings(), session, tmp_path, "sampled", "tinyworld")
        found.intervene([], list, resolve_heads("2.0", session.config), None, None)
    assert asked[0] == asked[1]


@pytest.mark.parametrize("kind", ["verifier", "labeler"])
def test_a_function_that_was_corrected_judges_no_further_beside_its_old_verdicts(tmp_path, model, monkeypatch, kind):
    monkeypatch.syspath_prepend(str(tmp_path))
    file = tmp_path / f"own_{kind}.py"
    body = {"verifier": "def judge(response, solution):\n    return True\n"}
    body["labeler"] = "def judge(question, response, steps):\n    return ['redundant'] * len(steps)\n"
    file.write_text(body[kind])
    evaluate(tmp_path, model, **{kind: f"own_{kind}:judge"})
    evaluate(tmp_path, model, **{kind: f"own_{kind}:judge"})
    file.write_text(body[kind] + "# corrected\n")
    with pytest.raises(OutputError, match=rf"other settings: {kind}_source \(there '\w+', asked '\w+'\)"):
        evaluate(tmp_path, model, **{kind: f"own_{kind}:judge"})
    monkeypatch.delitem(sys.modules, f"own_{kind}")


def test_a_device_that_the_engine_does_not_take_is_refused_before_it_is_started(tmp_path, model, vllm):
    with pytest.raises(ConfigError, match=r"^--device cpu:0: the engine 'vllm' places the model itself; leave it out"):
        evaluate(tmp_path, model, engine="vllm", device="cpu:0")
