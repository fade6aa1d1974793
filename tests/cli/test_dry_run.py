"""`attnpo train --dry_run`: all contradictions at once, real shapes, no weights."""

from __future__ import annotations

import json
from types import SimpleNamespace

import pytest
from measured import rollout
from model_folders import QWEN_1_5B, model_folder, problems_file
from transformers import AutoConfig, Qwen2Config, Qwen2ForCausalLM

from attnpo.attention import resolve_heads
from attnpo.cli.flags import is_switched_on
from attnpo.cli.main import main
from attnpo.rollouts import write_rollouts
from attnpo.signals.probe import ProbeWeights
from attnpo.workbench import written

SMALL = {**QWEN_1_5B, "hidden_size": 48, "intermediate_size": 64, "num_hidden_layers": 2, "vocab_size": 1000}
SMALL["max_position_embeddings"] = 512


@pytest.fixture
def run(tmp_path, capsys):
    settings = {
        "model": model_folder(tmp_path / "model", **SMALL),
        "data": problems_file(tmp_path / "problems.jsonl"),
        "prompt_template": "{{ problem }}",
        "solution_column": "answer",
        "heads": "0.3,1.5",
        "output_dir": tmp_path / "out",
        "num_generations": 4,
        "per_device_train_batch_size": 2,
        "gradient_accumulation_steps": 4,
        "max_completion_length": 128,
        "max_steps": 10,
        "schedule_steps": 8,
        "verifier": "exact",
        "report_to": "none",
        "use_cpu": True,
    }

    def call(*flags: str, **changed):
        argv = [
            part
            for name, value in {**settings, **changed}.items()
            if value is not None
            for part in (f"--{name}", str(value))
        ]
        with pytest.raises(SystemExit) as exit_:
            main(["train", *argv, "--dry-run", "--json", *flags])
        captured = capsys.readouterr()
        found = json.loads(captured.out)
        errors = [line for line in captured.err.splitlines() if line.startswith("attnpo train: error: ")]
        assert [line.removeprefix("attnpo train: error: ") for line in errors] == found["problems"]
        assert exit_.value.code == (1 if errors else 0)
        return found

    return call


def test_a_run_that_could_start(run, tmp_path):
    found = run()
    assert found["problems"] == []
    plan = found["plan"]
    assert (plan["updates"], plan["prompts_per_batch"], plan["responses_per_batch"]) == (10, 2, 8)
    assert plan["tokens_at_most"] == 10 * 8 * 128
    (memory,) = found["memory"]
    terms = {term["name"]: term["bytes"] for term in memory["terms"]}
    # q 48x48+48 for 12 heads of width 4, k and v 48x8+8, o 48x48, three of 48x64, two norms; embedding, head, norm
    layer = 48 * 48 + 48 + 2 * (48 * 8 + 8) + 48 * 48 + 3 * 48 * 64 + 2 * 48
    parameters = 2 * layer + 2 * 48 * 1000 + 48
    assert terms["weights"] == 4 * parameters
    assert terms["optimizer states"] == 8 * parameters
    assert memory["peak_bytes"] > 16 * parameters
    assert "0.3, 1.5" in found["facts"]["heads"]
    assert not (tmp_path / "out").exists()


def test_heads_of_another_model_of_this_shape_are_noted_and_no_mistake(run, tmp_path):
    head_set = resolve_heads("0.3", AutoConfig.from_pretrained(model_folder(tmp_path / "model", **SMALL)))
    for origin, noted in (("owner/other", True), (str(tmp_path / "model"), False)):
        head_set.model_copy(update={"model_id": origin}).save(tmp_path / "heads.json")
        found = run(heads=tmp_path / "heads.json")
        assert found["problems"] == []
        lines = [note for note in found["notes"] if note.startswith("heads: found on owner/other; --model ")]
        assert len(lines) == noted


def test_all_contradictions_are_collected(run, tmp_path):
    (tmp_path / "file").write_text("in the way")
    found = run(
        heads="0.3,7.0",
        verifier="no_module:f",
        max_completion_length=4096,
        output_dir=tmp_path / "file" / "out",
        lora_r=8,
        problems_seed=1,
        num_problems=None,
        prompt_template="{{ question }}",
    )
    lines = found["problems"]
    for words in (
        ["lora_r", "use_peft"],
        ["problems_seed", "num_problems"],
        ["head 7.0", "layers 0 to 1"],
        ["no_module"],
        ["prompt_template", "question"],
        ["file/out", "cannot write"],
    ):
        assert sum(all(word in line for word in words) for line in lines) == 1, (words, lines)
    assert len(lines) == 6  # without prompts, their length against the context cannot be known


def test_a_context_that_is_too_short(run):
    (line,) = run(max_completion_length=600)["problems"]
    assert "max_completion_length" in line
    assert "512 positions" in line


def test_a_tokenizer_of_another_model(run, tmp_path):
    folder = model_folder(tmp_path / "small-vocabulary", **{**SMALL, "vocab_size": 100})
    (line,) = run(model=folder)["problems"]
    assert "tokenizer" in line
    assert "100 rows" in line


def test_fewer_problems_than_a_batch(run):
    (line,) = run(num_problems=1)["problems"]
    assert "1 problems" in line
    assert "2 prompts" in line


def test_a_model_and_data_that_are_not_there(run, tmp_path):
    lines = run(model=tmp_path / "nowhere", data=tmp_path / "nowhere.jsonl")["problems"]
    assert any("nowhere.jsonl" in line for line in lines)
    assert any("no such file or folder" in line for line in lines)


def test_settings_that_cannot_be_parsed_end_with_one_line(capsys):
    with pytest.raises(SystemExit) as exit_:
        main(["train", "--dry_run", "--learning_rat", "1"])
    assert exit_.value.code == 1
    (line,) = [line for line in capsys.readouterr().err.splitlines() if line.startswith("attnpo")]
    assert "did you mean --learning_rate?" in line


@pytest.mark.parametrize("flags", [["--alpha_len", "1.5"], ["--layout", "nowhere.yaml"]])
def test_a_refusal_before_anything_is_read_is_json_too(run, flags):
    found = run(*flags)
    assert len(found["problems"]) == 1
    assert (found["plan"], found["memory"], found["written"]) == (None, [], {})


def test_layouts_count_their_processes(run, tmp_path):
    path = tmp_path / "layout.yaml"
    path.write_text("distributed_type: FSDP\nnum_processes: 4\nmixed_precision: bf16\nfsdp_config: {fsdp_version: 2}\n")
    found = run(layout=path, per_device_train_batch_size=1, gradient_accumulation_steps=2)
    assert found["problems"] == []
    assert found["plan"]["responses_per_batch"] == 8
    kinds = [memory["layout"]["kind"] for memory in found["memory"]]
    assert kinds == ["fsdp2", "ddp", "zero2", "zero3"]
    weights = [{t["name"]: t["bytes"] for t in memory["terms"]}["weights"] for memory in found["memory"]]
    assert weights[0] == weights[1] // 4


def test_a_layout_that_contradicts_the_settings(run, tmp_path):
    path = tmp_path / "layout.yaml"
    path.write_text(
        "distributed_type: DEEPSPEED\nnum_processes: 2\nmixed_precision: fp16\n"
        "deepspeed_config: {zero_stage: 3, gradient_accumulation_steps: 9}\n"
    )
    lines = run(layout=path)["problems"]
    assert any("mixed_precision is fp16" in line for line in lines)
    assert any("gradient_accumulation_steps is 9" in line for line in lines)


def test_vllm_that_cannot_hold_a_sequence(run):
    found = run(use_vllm="true", vllm_gpu_memory_utilization=0.0001, device_memory=1)
    assert any("vllm_gpu_memory_utilization" in line for line in found["problems"])


def test_a_peak_above_the_device_is_refused(run, tmp_path):
    path = tmp_path / "layout.yaml"
    path.write_text("distributed_type: MULTI_GPU\nnum_processes: 4\nmixed_precision: 'no'\n")
    asked = {"layout": path, "per_device_train_batch_size": 1, "gradient_accumulation_steps": 2}
    peaks = {m["layout"]["kind"]: m["peak_bytes"] / 2**30 for m in run(**asked)["memory"]}
    between = (peaks["ddp"] + peaks["zero3"]) / 2
    (line,) = run(**asked, device_memory=between)["problems"]
    assert line.startswith("device_memory: the peak of ")
    assert f"(DDP × 4) is {peaks['ddp'] / between:.0%} of a device of {between:g} GiB; lower per_device" in line
    assert "ZeRO-3" in line.split("or spread it as")[1]
    (line,) = run(**asked, device_memory=min(peaks.values()) / 2)["problems"]
    assert "spread" not in line
    assert run(**asked, device_memory=peaks["ddp"] * 1.01)["problems"] == []


@pytest.mark.parametrize(
    ("settings", "count"),
    [
        ({"save_steps": 2}, 5),
        ({"save_steps": 3}, 4),
        ({"save_steps": 0.25}, 4),
        ({"save_steps": 2, "save_total_limit": 1}, 2),
        ({"save_steps": 2, "save_only_model": "true"}, 5),
        ({"save_strategy": "no"}, 0),
        ({"save_strategy": "epoch"}, 1),
    ],
)
def test_more_checkpoints_than_the_disk_holds(run, monkeypatch, settings, count):
    model = 4 * sum(p.numel() for p in Qwen2ForCausalLM(Qwen2Config(**SMALL)).parameters())
    needed = count * (model if "save_only_model" in settings else 3 * model) + model
    for free, notes in ((needed - 1, 1), (needed, 0)):
        monkeypatch.setattr(written.shutil, "disk_usage", lambda path, free=free: SimpleNamespace(free=free))
        said = [line for line in run(**settings)["notes"] if line.startswith("output_dir: ")]
        assert len(said) == notes
        assert all((f"{count} checkpoints" if count else "the model take") in line for line in said)


def limits_said(found) -> list[str]:
    return [line for line in found["notes"] if line.startswith("max_completion_length")]


def test_a_limit_that_nobody_chose(run, tmp_path):
    default = (
        "max_completion_length: 512 is TRL's default; responses of reasoning models are longer and would be cut; give "
        "--max_completion_length"
    )
    assert limits_said(run(max_completion_length=None)) == [default]
    assert limits_said(run(max_completion_length=512)) == []
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text("max_completion_length: 64\n")
    assert limits_said(run("--config", str(recipe), max_completion_length=None)) == []


def test_a_limit_below_the_responses_that_the_heads_were_found_on(run, tmp_path):
    heads = tmp_path / "heads" / "heads.json"
    resolve_heads("0.3", AutoConfig.from_pretrained(tmp_path / "model")).save(heads)
    rows = [rollout(f"p{n}", True, n) for n in (100, 200, 300, 400)]
    write_rollouts(heads.with_name("probing_set.jsonl"), rows)
    (said,) = limits_said(run(heads=heads, max_completion_length=128))
    assert said == (
        "max_completion_length: 128 would cut 3 of 4 responses that the heads were found on (median 250 tokens); "
        "raise it"
    )
    assert limits_said(run(heads=heads, max_completion_length=200)) == []
    assert limits_said(run(heads=heads, max_completion_length=None)) == []
    heads.with_name("probing_set.jsonl").write_text("{")
    (said,) = [line for line in run(heads=heads)["notes"] if "probing_set" in line]
    assert "probing_set.jsonl, row 1" in said


@pytest.mark.parametrize(
    ("argv", "asked"),
    [
        (["--dry_run"], True),
        (["--dry-run", "--model", "x"], True),
        (["--dry_run", "true"], True),
        (["--dry_run=false"], False),
        (["--dry_run", "false"], False),
        (["--config", "a.yaml"], False),
    ],
)
def test_only_flags_ask_for_a_dry_run(argv, asked):
    assert is_switched_on(argv, "dry_run") is asked


def test_heads_that_are_not_read_are_named(run, tmp_path):
    note = "heads: 0.3,1.5 is not read, method 'attnpo' goes by signal 'log_prob'; leave it out"
    found = run(signal="log_prob")
    assert note in found["notes"]
    assert found["facts"]["heads"] == "none: method 'attnpo' goes by signal 'log_prob'"
    assert run(signal="log_prob", heads=None)["facts"]["heads"] == found["facts"]["heads"]
    assert not [line for line in run(signal="heads_ranked")["notes"] if line.startswith("heads")]
    missing = run(signal="heads_ranked", model=tmp_path / "nowhere")
    assert missing["facts"]["heads"] == "0.3,1.5"


@pytest.mark.parametrize(
    ("probe", "said"),
    [
        ({"layer": 2, "weights": [1.0] * 48}, "fitted to layer 2 of a model of 48 dimensions, this one has 2 layers"),
        ({"layer": 1, "weights": [1.0] * 32}, "fitted to layer 1 of a model of 32 dimensions, this one has 2 layers"),
        ({"layer": 1, "weights": [1.0] * 48}, None),
    ],
)
def test_a_signal_that_does_not_fit_the_model(run, tmp_path, probe, said):
    ProbeWeights(**probe).save(tmp_path / "probe.json")
    problems = run(signal=tmp_path / "probe.json", heads=None)["problems"]
    assert len(problems) == (0 if said is None else 1)
    assert said is None or said in problems[0]
