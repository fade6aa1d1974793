"""Checks that need no command line."""

from __future__ import annotations

import inspect
import re

import pytest
import trl.trainer.grpo_trainer
from small_training import config
from transformers import AutoConfig, GenerationConfig

from attnpo.tinyworld import checkpoint_path
from attnpo.tinyworld.tokenizer import CHAT_TEMPLATE, build_tokenizer
from attnpo.training.checks import Findings, RunParts, examine
from attnpo.training.checks.settings import CHOICES, check_checkpoint_sampling, check_layout
from attnpo.training.estimate import Layout, launched_layout, meta_model, read_layout

ENVIRONMENT = (
    "ACCELERATE_USE_FSDP",
    "FSDP_ACTIVATION_CHECKPOINTING",
    "ACCELERATE_MIXED_PRECISION",
    "ACCELERATE_GRADIENT_ACCUMULATION_STEPS",
)


@pytest.mark.parametrize(("name", "words"), CHOICES.items())
def test_trl_knows_the_words(name, words):
    source = inspect.getsource(trl.trainer.grpo_trainer) + inspect.getsource(trl.generation.vllm_generation)
    assert [word for word in words if f'"{word}"' not in source] == []
    assert name in source


def test_nothing_is_known_and_nothing_is_found(tmp_path):
    assert examine(RunParts(config(tmp_path / "out"), Layout())).problems == []


def test_several_errors_are_several_lines_and_one_keeps_its_class():
    findings = Findings()
    findings.refuse("a: 1")
    findings.refuse("a: 1")
    assert findings.problems == ["a: 1"]
    findings.refuse("b: 2")
    with pytest.raises(Exception, match="a: 1\nb: 2"):
        findings.raise_errors()


@pytest.mark.parametrize(
    ("layout", "settings", "words"),
    [
        (Layout("fsdp2", 2, activation_checkpointing=True), {"gradient_checkpointing": True}, "the same twice"),
        (Layout("fsdp2", 2, activation_checkpointing=True), {}, None),
        (Layout("zero3", 2), {"ds3_gather_for_generation": False}, "group_sampler: under ZeRO-3"),
        (Layout("ddp", 2, mixed_precision="fp16"), {}, "mixed_precision is fp16"),
        (Layout("zero2", 2, accumulation=9), {}, "gradient_accumulation_steps is 9"),
        (Layout("ddp", 2), {}, None),
    ],
)
def test_layouts_against_settings(tmp_path, layout, settings, words):
    findings = Findings()
    check_layout(RunParts(config(tmp_path, **settings), layout), findings)
    assert len(findings.problems) == (words is not None)
    assert words is None or words in findings.problems[0]


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        (
            {"group_sampler": False, "generation_kwargs": {"cache_implementation": "dynamic"}},
            None,
        ),
        (
            {
                "group_sampler": False,
                "cache_implementation": "static",
                "generation_kwargs": {"cache_implementation": "none of them"},
            },
            "cache_implementation, generation_kwargs: .*none of them",
        ),
        (
            {"restore_callback_states_from_checkpoint": True},
            "restore_callback_states_from_checkpoint: .*leave it out",
        ),
    ],
)
def test_settings_that_only_training_would_fail_on(tmp_path, settings, words):
    problems = examine(RunParts(config(tmp_path / "out", **settings), Layout())).problems
    assert len(problems) == (words is not None)
    assert words is None or re.match(words, problems[0])


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({}, None),
        ({"max_steps": -1}, r"max_steps: train_dataset is a stream, .* set it"),
        ({"method": "adaptthink", "heads": None}, r"train_dataset: method 'adaptthink' measures .* not a stream"),
        ({"resample_groups": 2}, r"resample_groups: 2 draws .* set it to 0, or give a data set of rows, not a stream"),
    ],
)
def test_what_a_stream_cannot_do_is_refused(tmp_path, settings, words):
    args = config(tmp_path / "out", **settings)
    assert examine(RunParts(args, Layout())).problems == []
    problems = examine(RunParts(args, Layout(), is_stream=True)).problems
    assert len(problems) == (words is not None)
    assert words is None or re.fullmatch(words, problems[0])


DEEPSPEED = "distributed_type: DEEPSPEED\nnum_processes: 2\ndeepspeed_config: "


@pytest.mark.parametrize(
    ("said", "environment", "zero_stage"),
    [
        (
            "distributed_type: 'NO'\nmixed_precision: 'no'\nnum_processes: 1\n",
            {"ACCELERATE_MIXED_PRECISION": "no"},
            None,
        ),
        (
            "distributed_type: MULTI_GPU\nmixed_precision: fp16\nnum_processes: 2\n",
            {"ACCELERATE_MIXED_PRECISION": "fp16"},
            None,
        ),
        (
            "distributed_type: FSDP\nnum_processes: 2\nfsdp_config:\n  fsdp_version: 2\n"
            "  fsdp_activation_checkpointing: true\n",
            {"ACCELERATE_USE_FSDP": "true", "FSDP_ACTIVATION_CHECKPOINTING": "true"},
            None,
        ),
        (
            DEEPSPEED + "{zero_stage: 3, gradient_accumulation_steps: 1}\n",
            {"ACCELERATE_GRADIENT_ACCUMULATION_STEPS": "1"},
            3,
        ),
        (
            DEEPSPEED + "{zero_stage: 2, gradient_accumulation_steps: 9}\n",
            {"ACCELERATE_GRADIENT_ACCUMULATION_STEPS": "9"},
            2,
        ),
    ],
    ids=["one", "ddp", "fsdp2", "zero3", "zero2"],
)
def test_a_launched_run_sees_the_layout_that_the_dry_run_read(tmp_path, monkeypatch, said, environment, zero_stage):
    (tmp_path / "layout.yaml").write_text(said)
    for name in ENVIRONMENT:
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    layout = read_layout(tmp_path / "layout.yaml")
    assert launched_layout(layout.processes, zero_stage) == layout


def test_a_tokenizer_without_an_end(tmp_path, tokenizer):
    class Endless:
        eos_token, chat_template = None, "{{ messages }}"

        def __len__(self) -> int:
            return 8

    source = AutoConfig.from_pretrained(checkpoint_path())
    found = examine(RunParts(config(tmp_path / "out"), Layout(), config=source, tokenizer=Endless()))
    assert found.problems == ["--model: the tokenizer has no end token, so no response would end; set its eos_token"]


def test_a_model_that_cannot_recompute_activations(tmp_path):
    model = meta_model(AutoConfig.from_pretrained(checkpoint_path()))
    model.supports_gradient_checkpointing = False
    args = config(tmp_path / "out", gradient_checkpointing=True)
    (line,) = examine(RunParts(args, Layout(), config=model.config, model=model)).problems
    assert line.startswith("gradient_checkpointing: Qwen2ForCausalLM does not support it")


@pytest.mark.parametrize(("opening", "notes"), [("", 1), ("<think>\n", 0)])
def test_what_a_prompt_without_a_think_part_means_is_said(tmp_path, opening, notes):
    tokenizer = build_tokenizer()
    tokenizer.chat_template = CHAT_TEMPLATE.replace("<think>\\n", "")
    args = config(tmp_path / "out", opening=opening)
    prompts = [[{"role": "user", "content": "1 + 1?"}]]
    found = examine(RunParts(args, Layout(), tokenizer=tokenizer, prompts=prompts))
    said = [note for note in found.notes if note.startswith("prompts open no think part")]
    assert len(said) == notes
    assert all("Qwen3 with enable_thinking true" in note for note in said)


def test_a_prompt_that_closes_its_think_part_is_not_told_to_open_another(tmp_path):
    tokenizer = build_tokenizer()
    tokenizer.chat_template = CHAT_TEMPLATE.replace("<think>\\n", "<think>\\n\\n</think>\\n\\n")
    prompts = [[{"role": "user", "content": "1 + 1?"}]]
    found = examine(RunParts(config(tmp_path / "out"), Layout(), tokenizer=tokenizer, prompts=prompts))
    (note,) = [note for note in found.notes if "think part" in note]
    assert note.startswith("prompts close their think part")
    assert "enable_thinking" in note
    assert "'<think>\\n'" not in note


@pytest.mark.parametrize(
    ("settings", "engine"),
    [({}, "transformers"), ({"group_sampler": False, "use_transformers_continuous_batching": True}, "transformers-cb")],
)
def test_a_checkpoint_that_asks_for_what_the_engine_cannot_do_is_refused(tmp_path, settings, engine):
    model = AutoConfig.from_pretrained(checkpoint_path())
    GenerationConfig(min_new_tokens=5).save_pretrained(tmp_path)
    args = config(tmp_path / "out", **settings)
    findings = Findings()
    check_checkpoint_sampling(RunParts(args, Layout(), config=model), findings)
    assert findings.problems == []
    model.name_or_path = str(tmp_path)
    check_checkpoint_sampling(RunParts(args, Layout(), config=model), findings)
    (line,) = findings.problems
    assert line.startswith("generation_config.json of the model: min_new_tokens: 5, but the engine ")
    assert repr(engine) in line
