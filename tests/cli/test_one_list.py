"""The run and the dry run go through one list of checks: what one refuses the other refuses, in the same words."""

from __future__ import annotations

import importlib.util
import json
import shutil

import pytest
import torch
import transformers.integrations.integration_utils as integrations
from transformers.integrations.deepspeed import unset_hf_deepspeed_config

import attnpo.workbench.training
from attnpo.cli.main import main
from attnpo.tinyworld import checkpoint_path

SETTINGS = {
    "model": "tinyworld",
    "data": "tinyworld",
    "num_problems": 16,
    "heads": "2.0",
    "segmentation": "paragraphs",
    "verifier": "exact",
    "num_generations": 2,
    "per_device_train_batch_size": 4,
    "max_completion_length": 64,
    "max_steps": 1,
    "schedule_steps": 1,
    "use_cpu": True,
    "bf16": False,
    "report_to": "none",
    "save_strategy": "no",
}
ENDLESS = {"max_steps": -1}
TRL_SAMPLES = {"group_sampler": False}
EVALUATED = {"eval_strategy": "steps", "eval_steps": 1, "eval_data": "tinyworld", "eval_problems": 4}


class TrainingBegan(BaseException):
    """The run passed every check."""


@pytest.fixture
def lines(tmp_path, capsys, monkeypatch):
    """Returns the lines with which a dry run and a run refuse settings, and the dry run's findings."""

    def stop(*args, **kwargs):
        raise TrainingBegan

    monkeypatch.setattr(attnpo.workbench.training, "AttnPOTrainer", stop)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")

    def refused(**changed) -> tuple[list[str], list[str], str]:
        settings = {**SETTINGS, "output_dir": tmp_path / "out", **changed}
        argv = [p for name, value in settings.items() if value is not None for p in (f"--{name}", str(value))]
        found = []
        for more in ([], ["--dry_run"]):
            code = 0
            try:
                main(["train", *argv, *more])
            except SystemExit as exit_:
                code = exit_.code
            except TrainingBegan:
                pass
            unset_hf_deepspeed_config()  # a configuration that was refused stays behind
            captured = capsys.readouterr()
            start = "attnpo train: error: "
            errors = [line.removeprefix(start) for line in captured.err.splitlines() if line.startswith(start)]
            assert bool(errors) is (code != 0)
            found.append(errors)
        run, dry = found
        return run, dry, captured.out

    return refused


REFUSED = {
    "no update: fewer problems than a batch": ({"num_problems": 8, "per_device_train_batch_size": 64}, "data: 8 prob"),
    "no update: no epoch": ({**ENDLESS, "num_train_epochs": 0}, "num_train_epochs"),
    "a response longer than the model's positions": ({"max_completion_length": 4096}, "max_completion_length: 4,096"),
    "prompts that are all too long": ({"max_prompt_tokens": 3}, "max_prompt_tokens: no prompt"),
    "temperature 0": ({"temperature": 0}, "temperature: 0"),
    "evaluation without data": ({"eval_strategy": "steps"}, "eval_strategy: steps needs"),
    "evaluation at the start without data": ({"eval_on_start": True}, "eval_on_start: true needs"),
    "data without evaluation": ({"eval_data": "tinyworld"}, "eval_data: does nothing"),
    "a part of no evaluation data": ({"eval_problems": 3}, "eval_problems: does nothing without eval_data"),
    "evaluation data that is not there": ({**EVALUATED, "eval_data": "nowhere.jsonl"}, "nowhere.jsonl"),
    "bf16 by default on a CPU": ({"bf16": None, "use_cpu": None}, "bf16: there is no GPU here"),
    "fp16 on a CPU": ({"fp16": True}, "fp16: needs a GPU"),
    "fp16 without a GPU": ({"fp16": True, "use_cpu": None}, "fp16: needs a GPU"),
    "a GPU that is not here": ({"model_init_kwargs": '{"device_map": "cuda"}'}, "model_init_kwargs.device_map"),
    "a type that is none": ({"model_init_kwargs": '{"dtype": "float99"}'}, "model_init_kwargs.dtype: float99"),
    "one response a prompt": ({"num_generations": 1}, "num_generations: 1 is not allowed"),
    "a batch that is no multiple of a group": ({"num_generations": 3}, "num_generations"),
    "a verifier that is not there": ({"verifier": "no_module:f"}, "verifier 'no_module:f'"),
    "a labeler that is not there": ({"step_labeler": "no_module:f"}, "labeler 'no_module:f'"),
    "a method without its labels": ({"method": "oracle"}, "step_labeler: method 'oracle' needs"),
    "phrases that are not there": ({"segmentation": "phrases", "phrases_file": "nowhere.yaml"}, "nowhere.yaml"),
    "heads that are not there": ({"heads": "nowhere.json"}, "nowhere.json"),
    "no heads": ({"heads": None}, "heads: method 'attnpo' reads attention"),
    "a head that does not exist": ({"heads": "9.0"}, "head 9.0 does not exist"),
    "a probe that is not there": ({"probe": "nowhere.jsonl"}, "nowhere.jsonl"),
    "data that is not there": ({"data": "nowhere.jsonl"}, "nowhere.jsonl"),
    "a model that is not there": ({"model": "/nowhere"}, "/nowhere: no such file or folder"),
    "an upload without the Hub": ({"push_to_hub": True}, "push_to_hub: "),
    "a repository's name that is none": ({"push_to_hub": True, "hub_model_id": "a/b/c"}, "hub_model_id: "),
    "a checkpoint that is not there": ({"resume_from_checkpoint": "nowhere"}, "resume_from_checkpoint: nowhere"),
    "the best of no evaluations": ({"load_best_model_at_end": True}, "load_best_model_at_end: nothing says"),
    "saving the best of none": ({"save_strategy": "best"}, "save_strategy: best: nothing says"),
    "best by no metric": ({**EVALUATED, "save_strategy": "best"}, "save_strategy: best: needs metric_for_best_model"),
    "saving at other steps than evaluating": (
        {**EVALUATED, "eval_steps": 2, "save_strategy": "steps", "save_steps": 3, "load_best_model_at_end": True},
        "--load_best_model_at_end requires the saving steps",
    ),
    "a reporter that is not installed": ({"report_to": "wandb"}, "report_to: wandb is not installed"),
    "a reporter that does not exist": ({"report_to": "foo"}, "report_to: foo is unknown"),
    "vLLM that is not installed": ({"use_vllm": True}, "use_vllm: vllm is not installed"),
    "deepspeed that is not installed": ({"deepspeed": "nowhere.json"}, "deepspeed"),
    "an optimizer that is not installed": ({"optim": "adamw_bnb_8bit"}, "optim: "),
    "kernels that are not installed": ({"use_liger_kernel": True}, "use_liger_kernel: liger_kernel is not installed"),
    "attention that is not installed": (
        {"model_init_kwargs": '{"attn_implementation": "flash_attention_2"}'},
        "model_init_kwargs.attn_implementation: flash_attention_2",
    ),
    "attention that does not exist": (
        {"group_sampler": True, "sampler_attn_implementation": "foo"},
        "sampler_attn_implementation: ",
    ),
    "two samplers": ({"group_sampler": True, "use_vllm": True}, "group_sampler: cannot be combined"),
    "a method without its sampler": ({"method": "sgrpo"}, "group_sampler: method 'sgrpo'"),
    "a schedule without its setting": ({"lr_scheduler_type": "cosine_with_min_lr"}, "lr_scheduler_type: cosine_with"),
    "a schedule that follows no tokens": (
        {**EVALUATED, "lr_scheduler_type": "reduce_lr_on_plateau", "max_sampled_tokens": 9999},
        "lr_scheduler_type: reduce_lr_on_plateau cannot follow",
    ),
    "a loss that does not exist": ({"loss_type": "foo"}, "loss_type: foo is unknown"),
    "a ratio that does not exist": ({"importance_sampling_level": "foo"}, "importance_sampling_level: foo"),
    "weights of other rewards": ({"reward_weights": 1.0, "sync_ref_model": True}, "sync_ref_model: there is no"),
    "a router of no experts": ({"router_aux_loss_coef": 0.1}, "router_aux_loss_coef: 0.1"),
    "a cache that does not exist": ({"cache_implementation": "foo", **TRL_SAMPLES}, "cache_implementation"),
    "sharding of one process": ({"fsdp": "full_shard"}, "fsdp: "),
    "adapters without rank": ({"use_peft": True, "lora_r": 0}, "lora_r: 0 is not allowed"),
    "checkpointing's settings without it": (
        {"gradient_checkpointing": False, "gradient_checkpointing_kwargs": '{"use_reentrant": true}'},
        "gradient_checkpointing_kwargs: does nothing",
    ),
}


@pytest.mark.parametrize(("settings", "start"), REFUSED.values(), ids=REFUSED.keys())
def test_both_refuse_in_the_same_words(lines, settings, start, monkeypatch, tmp_path):
    if not torch.accelerator.is_available():
        monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    elif "CPU" in start or "GPU" in start or "device_map" in start:
        pytest.skip("there is a GPU here")
    monkeypatch.setattr(integrations, "is_wandb_available", lambda: False)
    find_spec = importlib.util.find_spec
    absent = ("vllm", "liger_kernel")
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *a: None if name in absent else find_spec(name, *a))
    run, dry, _ = lines(**settings)
    assert run == dry
    assert any(start in line for line in run), run
    assert not any("\n" in line or "Traceback" in line for line in run)
    assert not (tmp_path / "out").exists()


def test_all_of_them_at_once(lines):
    run, dry, _ = lines(max_completion_length=4096, report_to="foo", lora_r=8, eval_strategy="epoch")
    assert run == dry
    starts = ["lora_r", "eval_strategy: epoch", "report_to", "max_completion_length"]
    assert [line.split(":")[0] for line in run] == [start.split(":")[0] for start in starts]


@pytest.mark.parametrize(
    "settings",
    [{}, EVALUATED, {**EVALUATED, "save_strategy": "steps", "save_steps": 1, "load_best_model_at_end": True},
     {"max_prompt_tokens": 64}, {"use_peft": True}, {"group_sampler": True, "sampler_attn_implementation": "eager"}],
    ids=["plain", "evaluated", "best", "prompts left out", "lora", "sampler's attention"],
)  # fmt: skip
def test_what_can_start_starts(lines, settings):
    run, dry, out = lines(**settings)
    assert (run, dry) == ([], [])
    assert "the same command without --dry_run starts the run" in " ".join(out.split())


def test_the_run_says_what_the_dry_run_notes(lines, tmp_path, capsys):
    settings = {**SETTINGS, "output_dir": tmp_path / "out", "max_prompt_tokens": 50, "schedule_steps": 99}
    argv = [p for name, value in settings.items() for p in (f"--{name}", str(value))]
    with pytest.raises(TrainingBegan):
        main(["train", *argv])
    said = [line.removeprefix("note: ") for line in capsys.readouterr().out.splitlines() if line.startswith("note: ")]
    with pytest.raises(SystemExit):
        main(["train", *argv, "--dry_run", "--json"])
    noted = json.loads(capsys.readouterr().out)["notes"]
    assert said == noted
    assert any("problems left out: prompts above 50 tokens" in line for line in noted)
    assert any(line.startswith("schedule_steps: 99 is above the run's 1 updates") for line in noted)


@pytest.mark.parametrize("planned", [{"device_memory": 80}, {"layout": "distributed_type: 'NO'\nnum_processes: 1\n"}])
def test_another_machine_may_have_what_this_one_lacks(lines, tmp_path, capsys, planned, monkeypatch):
    monkeypatch.setattr(integrations, "is_wandb_available", lambda: False)
    if "layout" in planned:
        (tmp_path / "layout.yaml").write_text(planned["layout"])
        planned = {"layout": tmp_path / "layout.yaml"}
    settings = {**SETTINGS, "bf16": True, "use_cpu": False, "report_to": "wandb", "push_to_hub": True, **planned}
    argv = [p for name, value in settings.items() for p in (f"--{name}", str(value))]
    with pytest.raises(SystemExit) as exit_:
        main(["train", *argv, "--output_dir", str(tmp_path / "out"), "--dry_run", "--json"])
    found = json.loads(capsys.readouterr().out)
    assert (exit_.value.code, found["problems"]) == (0, [])
    assert any("needed where the run takes place: wandb" in line for line in found["notes"])


def test_evaluations_while_training(tmp_path):
    changed = {**EVALUATED, "max_completion_length": 128, "num_generations": 4, "per_device_train_batch_size": 16}
    eval_size = {"num_generations_eval": 2, "per_device_eval_batch_size": 8, "logging_steps": 1, "group_sampler": True}
    settings = {**SETTINGS, **changed, **eval_size, "output_dir": tmp_path / "out"}
    main(["train", *[p for name, value in settings.items() for p in (f"--{name}", str(value))]])
    rows = [json.loads(line) for line in (tmp_path / "out" / "log.jsonl").read_text().splitlines()]
    (evaluated,) = [row for row in rows if "eval_reward" in row]
    assert evaluated["step"] == 1
    assert evaluated["eval_rewards/accuracy/mean"] == evaluated["eval_reward"]
    assert 0 < evaluated["eval_completions/mean_length"] <= 128
    assert "attnpo/accuracy" not in evaluated


def test_weights_that_are_cut_off_are_refused_before_they_are_loaded(lines, tmp_path):
    folder = shutil.copytree(checkpoint_path(), tmp_path / "model")
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1000])
    run, dry, _ = lines(model=folder)
    assert run == dry
    (line,) = run
    assert line.startswith(f"--model: {weights} is cut off or no safetensors file (")


def test_a_folder_of_a_run_before_is_gone_on_with_or_refused(tmp_path, capsys):
    settings = {**SETTINGS, "max_completion_length": 128, "num_generations": 4, "per_device_train_batch_size": 16}
    settings |= {"save_strategy": "steps", "save_steps": 1, "group_sampler": True, "max_steps": 2, "schedule_steps": 2}
    settings |= {"output_dir": tmp_path / "out", "alpha_len": 0.2}

    def argv(**changed: object) -> list[str]:
        return [
            p for name, value in (settings | changed).items() if value is not None for p in (f"--{name}", str(value))
        ]

    def planned(**changed: object) -> dict[str, list[str]]:
        capsys.readouterr()
        with pytest.raises(SystemExit):
            main(["train", *argv(**changed), "--dry_run", "--json"])
        found = json.loads(capsys.readouterr().out)
        about_it = ("resume_from_checkpoint: goes on", "output_dir", "method", "model")
        return {kind: [line for line in found[kind] if line.startswith(about_it)] for kind in ("problems", "notes")}

    main(["train", *argv(max_steps=1)])
    assert planned(output_dir=tmp_path / "new") == {"problems": [], "notes": []}
    (line,) = planned()["problems"]
    assert line.startswith(f"output_dir: {tmp_path}/out holds a run before (")
    assert "begin anew choose another folder" in line
    again = {"resume_from_checkpoint": True}
    assert planned(**again) == {"problems": [], "notes": []}
    (line,) = planned(**again, alpha_len=0.4, learning_rate=1e-5)["notes"]
    assert line.endswith("alpha_len 0.2 before, 0.4 now; learning_rate None before, 1e-05 now")
    assert planned(**again, solution_column="solution", save_steps=9, max_steps=5) == {"problems": [], "notes": []}
    (line,) = planned(**again, method="tlmre", heads=None)["problems"]
    assert line.startswith(f"method: tlmre, and {tmp_path}/out/checkpoint-1 is of a run with attnpo; ")
    (line,) = planned(**again, model=checkpoint_path())["problems"]
    assert line.startswith(f"model: {checkpoint_path()}, and ")
    shutil.rmtree(tmp_path / "out" / "checkpoint-1")
    (line,) = planned(**again)["problems"]
    assert line.endswith("holds a run before (training.json); to begin anew choose another folder or remove this one")
