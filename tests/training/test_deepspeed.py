"""DeepSpeed over gloo: the same step on two processes under ZeRO-2 and ZeRO-3 is that of one process without it."""

from __future__ import annotations

import json
import shutil
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch
from commands import command, run_commands
from layouts import (
    Trace,
    assert_same_credit,
    assert_same_gradients,
    launch,
    sample_groups,
    train,
    zero,
)
from safetensors.torch import load_file
from small_training import SETTINGS
from transformers import AutoModelForCausalLM

from attnpo.tinyworld import checkpoint_path

pytestmark = pytest.mark.skipif(
    find_spec("deepspeed") is None, reason="deepspeed is not installed: pip install deepspeed"
)

CASES = {
    "accumulated": {"micro_batches": 3},
    "two_updates": {"lr": 0.5, "settings": {"num_iterations": 2, "max_steps": 2}},
    "checkpointed": {"settings": {"gradient_checkpointing": True}},
    "lora": {"lora": True, "micro_batches": 3},
    "sampled": {"samples": True},
}
BROKEN = {
    "zero2_broken_once": {"zero": 2, "broken": [1], "settings": {"max_steps": 3}},
    "zero3_broken_once": {"zero": 3, "broken": [1], "settings": {"max_steps": 3, "bf16": True}},
    "zero2_broken": {"zero": 2, "broken": [1, 2], "settings": {"max_steps": 6, "max_skipped_updates": 2}},
}
FLAGS = {
    **SETTINGS,
    "model": "tinyworld",
    "data": "tinyworld",
    "num_problems": 10,  # three steps an epoch
    "per_device_train_batch_size": 6,
    "gradient_accumulation_steps": 1,
    "max_completion_length": 48,
    "max_steps": 4,
    "save_strategy": "steps",
    "save_steps": 2,
    "max_grad_norm": 0.0,
}
NAMES = [f"zero{stage}_{case}" for stage in (2, 3) for case in CASES]


@pytest.fixture(scope="module")
def groups():
    return sample_groups(9)


@pytest.fixture(scope="module")
def two(groups, tmp_path_factory) -> dict[str, Trace]:
    specs = {name: {"groups": groups, "zero": int(name[4]), **CASES[name[6:]]} for name in NAMES}
    specs |= {name: {"groups": groups, **spec} for name, spec in BROKEN.items()}
    return launch(tmp_path_factory.mktemp("two"), specs, 2)


@pytest.fixture(scope="module")
def one(groups, tmp_path_factory):
    known: dict[str, Trace] = {}

    def trace(case: str) -> Trace:
        if case not in known:
            known[case] = train(tmp_path_factory.mktemp(case), {"groups": groups, **CASES[case]})
        return known[case]

    return trace


@pytest.mark.parametrize("name", NAMES)
def test_zero_equals_one_process_without_it(two, one, name):
    found, expected = two[name], one(name[6:])
    assert bool(found.sharded) == (name[4] == "3")
    assert_same_credit(found, expected)
    assert_same_gradients(found, expected)


@pytest.mark.parametrize("name", ["zero2_broken_once", "zero3_broken_once"])
def test_an_update_whose_gradient_is_not_finite_is_skipped_and_counted(two, name):
    trace = two[name]
    assert (trace.refused, trace.skipped) == ("", 1)
    first, broken, last = trace.gradients
    assert not all(value.isfinite().all() for value in broken.values())
    # A learning rate of 0 leaves the weights as they are, NaN times 0 would not: the third gradient would be NaN.
    assert all(value.isfinite().all() for gradient in (first, last) for value in gradient.values())


def test_too_many_in_a_row_end_the_run(two):
    assert "steps 2 to 3: the gradient was not finite, no update was made" in two["zero2_broken"].refused


@pytest.fixture(scope="module")
def resumed(tmp_path_factory) -> Path:
    """A folder with a run of each stage, and one that went on from its checkpoint in processes of its own."""
    folder = tmp_path_factory.mktemp("resumed")

    def training(stage: int, name: str, **flags) -> list[str]:
        config = folder / f"zero{stage}.json"
        config.write_text(json.dumps(zero(stage)))
        return command("train", **FLAGS, deepspeed=config, output_dir=folder / name / str(stage), **flags)

    run_commands(folder, training(2, "whole"), training(3, "whole"), processes=2)
    for stage in ("2", "3"):
        checkpoint = Path(stage) / "checkpoint-2"
        shutil.copytree(folder / "whole" / checkpoint, folder / "resumed" / checkpoint)
    again = [training(stage, "resumed", resume_from_checkpoint=True) for stage in (2, 3)]
    run_commands(folder, *again, processes=2)
    return folder


@pytest.mark.slow
@pytest.mark.parametrize("stage", [2, 3])
def test_a_resumed_run_equals_an_uninterrupted_one(stage, resumed):
    whole, again = (load_file(resumed / name / str(stage) / "model.safetensors") for name in ("whole", "resumed"))
    start = load_file(Path(checkpoint_path()) / "model.safetensors")
    assert any(not torch.equal(whole[name], start[name]) for name in start)
    assert all(torch.equal(again[name], tensor) for name, tensor in whole.items())
    model, report = AutoModelForCausalLM.from_pretrained(resumed / "whole" / str(stage), output_loading_info=True)
    assert not any(report[name] for name in ("missing_keys", "unexpected_keys", "mismatched_keys"))
    assert model.num_parameters() == sum(tensor.numel() for tensor in start.values())
