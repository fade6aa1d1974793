"""vLLM in this process, on the CPU, with the small world's model in float32."""

from __future__ import annotations

import json
import shutil
import time
from collections import Counter

import pytest
from engine_servers import replaced_weights
from opt_in import only_when_asked_for

only_when_asked_for("vllm")

import vllm

from attnpo.cli import discover as discover_command
from attnpo.cli import evaluate as evaluate_command
from attnpo.discovery.traces import TRACES_FILE
from attnpo.errors import ConfigError, OutputError
from attnpo.evaluation import EvaluationResult
from attnpo.rollouts import read_rollouts
from attnpo.sampling import SampleRequest, SamplingParams, VLLMSampler
from attnpo.tinyworld import checkpoint_path

EAGER = {"enforce_eager": True}
ROOM = 512


@pytest.fixture(scope="session", autouse=True)
def engines(figure):
    """One engine of a kind: each takes its time to start, and the tests want the same."""
    made, patch, plain = {}, pytest.MonkeyPatch(), vllm.LLM

    def one(**options):
        kind = json.dumps({name: str(value) for name, value in sorted(options.items())})
        if kind not in made:
            begin = time.monotonic()
            made[kind] = plain(**options)
            figure(f"vLLM {vllm.__version__}: an engine in this process started in {time.monotonic() - begin:.0f} s")
        return made[kind]

    patch.setattr(vllm, "LLM", one)
    yield made
    patch.undo()
    for engine in made.values():
        engine.llm_engine.engine_core.shutdown()


@pytest.fixture(scope="session")
def model(tmp_path_factory):
    return shutil.copytree(checkpoint_path(), tmp_path_factory.mktemp("vllm") / "model")


VLLM = {
    "engine": "vllm",
    "engine_args": json.dumps(EAGER),
    "rows": 8,
    "max_model_len": ROOM,
    "gpu_memory_utilization": 0.1,
}
OURS = {"engine": "transformers", "device": "cpu"}


def flags(**given) -> list[str]:
    own = {"data": "tinyworld", "segmentation": "paragraphs", "verifier": "exact", "resamples": 50}
    return [part for name, value in {**own, **given}.items() for part in (f"--{name}", str(value))]


def sampler(tokenizer, model, **options) -> VLLMSampler:
    own = {"rows": 8, "dtype": "float32", "max_model_len": ROOM, "gpu_memory_utilization": 0.1, "engine_args": EAGER}
    return VLLMSampler(str(model), tokenizer, **{**own, **options})


def test_responses_are_those_of_our_sampler_token_for_token(tokenizer, model, asked, ours, greedy, figure):
    found = dict(sampler(tokenizer, model).sample(asked, greedy))
    same = [list(found[index].ids) == ours[index] for index in range(len(asked))]
    figure(f"vLLM, in this process: {sum(same)} of {len(same)} greedy responses have our sampler's ids")
    assert all(same)


def test_a_response_is_drawn_alike_alone_and_among_others(tokenizer, model, asked):
    params = SamplingParams(32, temperature=1.0, seed=3)
    drawing = sampler(tokenizer, model)
    together = dict(drawing.sample(asked[:6], params))
    assert len({tuple(response.ids) for response in together.values()}) > 1
    for index, request in enumerate(asked[:3]):
        ((_, alone),) = drawing.sample([request], params)
        assert alone.ids == together[index].ids


def evaluate(folder, model, **engine) -> None:
    own = {"num_problems": 6, "samples_per_problem": 2, "temperature": 0.0, "max_new_tokens": 192}
    evaluate_command.run(flags(output_dir=folder, model=model, **own, **engine))


def rows(folder):
    return sorted(read_rollouts(folder / "rollouts.jsonl"), key=lambda row: (row.problem_id, row.sample))


def test_an_evaluation_is_that_of_the_transformers_engine(model, tmp_path, figure):
    evaluate(tmp_path / "vllm", model, **VLLM)
    evaluate(tmp_path / "ours", model, **OURS)
    assert rows(tmp_path / "vllm") == rows(tmp_path / "ours")
    first, second = (EvaluationResult.load(tmp_path / name / "evaluation.json") for name in ("vllm", "ours"))
    assert first.overall == second.overall
    assert (first.settings["dtype"], first.settings["engine"]["engine_args"]) == ("float32", EAGER)
    figure(f"vLLM, evaluate: {len(rows(tmp_path / 'vllm'))} rows and every figure as with the transformers engine")


def test_discovery_finds_the_head_that_knows(model, tmp_path, figure):
    own = {
        "model": model,
        "device": "cpu",
        "num_problems": 24,
        "samples_per_problem": 4,
        "max_new_tokens": 256,
        "labeler": "attnpo.tinyworld:label_steps",
        "random_model": "false",
    }
    discover_command.run(flags(output_dir=tmp_path / "out", **own, **VLLM))
    found = json.loads((tmp_path / "out" / "discovery.json").read_text())
    assert found["gates"]["sampled"] == 96
    assert {layer for layer, _ in found["chosen"]} == {2}
    assert found["chosen_sra"]["value"] > 0.85
    figure(f"vLLM, discover: heads {found['chosen']}, SRA {found['chosen_sra']['value']:.3f} on the other half")


def test_causal_labels_are_those_of_the_transformers_engine(model, tmp_path, figure):
    """Of responses that vLLM drew: deletions are felt in the model itself, answers are drawn again by the engine."""
    own = {"model": model, "labeler": "causal", "random_model": "false", "min_pass_rate": 0}
    own |= {"causal_resample": 1, "causal_resample_temperature": 0.0, "causal_resample_tokens": 64}
    sampling = {"num_problems": 16, "samples_per_problem": 2, "max_new_tokens": 256}
    discover_command.run(flags(output_dir=tmp_path / "vllm", **own, **sampling, **OURS | VLLM))
    drawn = tmp_path / "vllm" / TRACES_FILE
    discover_command.run(flags(output_dir=tmp_path / "ours", traces=drawn, **own, **OURS))
    first, second = (measured(tmp_path / name) for name in ("vllm", "ours"))
    kinds = Counter(kind for *_, kind in first)
    same = sum(first[name] == second.get(name) for name in first)
    figure(f"vLLM, discover by causal labels: {same} of {len(first)} measurements as with the transformers engine")
    assert kinds["resampled"] == kinds["alone"] > 10
    assert first == second
    chosen = [json.loads((tmp_path / name / "discovery.json").read_text())["chosen"] for name in ("vllm", "ours")]
    assert chosen[0] == chosen[1]


def measured(folder) -> dict:
    """What deletions changed, by response and kind of measurement; not what it took, nor what drew the answers."""
    rows = map(json.loads, (folder / "causal_effects.jsonl").read_text().splitlines())
    return {(row["problem_id"], row["sample"], row["measurement"]): {**row, "cost": None, "how": None} for row in rows}


def test_a_prompt_longer_than_the_room_is_one_line(tokenizer, model, greedy):
    long = SampleRequest("", tuple([7] * (ROOM + 1)), 0, 0)
    with pytest.raises(ConfigError, match=r"engine: vllm refuses a request: .*512") as error:
        list(sampler(tokenizer, model).sample([long], greedy))
    assert "\n" not in str(error.value)


def test_memory_that_is_not_there_is_one_line(tokenizer, model, greedy, asked, monkeypatch):
    monkeypatch.delenv("VLLM_CPU_KVCACHE_SPACE", raising=False)
    with pytest.raises(ConfigError, match=r"lower --gpu_memory_utilization$") as error:
        list(sampler(tokenizer, model, gpu_memory_utilization=0.999).sample(asked[:1], greedy))
    assert "\n" not in str(error.value)


def test_replaced_weights_are_other_results(model, tmp_path):
    evaluate(tmp_path, model, **VLLM)
    evaluate(tmp_path, model, **VLLM)  # shown again
    with replaced_weights(model), pytest.raises(OutputError, match=r"holds results of other settings: weights \(there"):
        evaluate(tmp_path, model, **VLLM)
