"""Whole runs through the command line: two processes against one, and a killed run against one that was not."""

from __future__ import annotations

import json
import signal
import subprocess
import time
from pathlib import Path

import pytest
import torch
from commands import command, run_commands
from layouts import ENVIRONMENT, starting
from probe_set import probe_set
from safetensors.torch import load_file
from small_training import SETTINGS
from transformers import AutoTokenizer

from attnpo.cli.main import main
from attnpo.discovery.evidence import StabilityResult
from attnpo.rollouts import write_rollouts
from attnpo.tinyworld import checkpoint_path

FLAGS = {
    **SETTINGS,
    "model": "tinyworld",
    "data": "tinyworld",
    "num_problems": 64,
    "gradient_accumulation_steps": 1,
    "max_completion_length": 64,
    "step_labeler": "attnpo.tinyworld:label_steps",
}
# A group of 4 is split over two processes (2 rows each per micro-batch of 6): 12 rows in all.
SPLIT = {**FLAGS, "num_generations": 4, "save_strategy": "no"}
# l1_exact draws a length a group, asks for it in the prompt and reads it back when rewards are in.
LENGTHS = {
    "method": "l1_exact",
    "method_settings": '{"shortest_request": 8, "longest_request": 64, "alpha": 0.01}',
    "max_steps": 1,
    "save_rollouts": True,
}


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return load_file(folder / "model.safetensors")


def log(folder: Path) -> list[dict]:
    rows = [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
    return [row for row in rows if "attnpo/accuracy" in row]


@pytest.fixture(scope="module")
def probe(tmp_path_factory) -> dict[str, object]:
    """Settings that probe every step and exchange the heads at once: 0.0 does not rank steps."""
    file = tmp_path_factory.mktemp("probe") / "probe.jsonl"
    write_rollouts(file, probe_set(AutoTokenizer.from_pretrained(checkpoint_path())))
    return {"heads": "0.0", "probe": file, "probe_every": 1, "probe_min_sra": 0.9, "probe_reselect": True}


@pytest.fixture(scope="module")
def made(tmp_path_factory, probe) -> Path:
    """A folder with the same runs on one process and on two."""
    folder = tmp_path_factory.mktemp("made")
    runs = {"probed": {**SPLIT, "max_steps": 2, **probe}, "lengths": {**SPLIT, **LENGTHS}}

    def training(processes: str, rows: int) -> list[list[str]]:
        return [
            command("train", **{**flags, "per_device_train_batch_size": rows, "output_dir": folder / name / processes})
            for name, flags in runs.items()
        ]

    for argv in training("one", 12):
        main(argv)
    run_commands(folder, *training("two", 6), processes=2)
    return folder


def test_two_processes_equal_one(made):
    folder = made / "probed"
    one, two = weights(folder / "one"), weights(folder / "two")
    for name, tensor in one.items():
        torch.testing.assert_close(two[name], tensor, rtol=1e-4, atol=2e-5)
    for a, b in zip(log(folder / "one"), log(folder / "two"), strict=True):
        names = {name for name in a if name.startswith("attnpo/")}
        names.remove("attnpo/extra_attention")  # a cost: it depends on which rows share a pass
        assert len(names) >= 14
        for name in names:
            assert b[name] == pytest.approx(a[name], rel=1e-4, abs=1e-6), name
    stable, also = (StabilityResult.load(folder / name / "stability.json") for name in ("one", "two"))
    assert [(each.step, each.old) for each in stable.reselections] == [(0, [(0, 0)])]
    assert also.reselections == stable.reselections
    assert [point.heads for point in also.points] == [point.heads for point in stable.points]
    for a, b in zip(stable.points, also.points, strict=True):
        assert b.pearson.value == pytest.approx(a.pearson.value, abs=1e-4)
        assert b.sra.value == pytest.approx(a.sra.value, abs=0.01)


def test_a_killed_run_goes_on_with_the_same_numbers(tmp_path, probe):
    settings = {
        **FLAGS,
        **probe,
        "per_device_train_batch_size": 8,
        "max_steps": 5,
        "save_strategy": "steps",
        "save_steps": 2,
        "save_rollouts": True,
        "resume_from_checkpoint": True,
    }
    folder = tmp_path / "killed"
    training = command("train", **settings, output_dir=folder)
    process = subprocess.Popen(
        starting(1, "-m", "attnpo", *training),
        env=ENVIRONMENT,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    deadline = time.monotonic() + 300
    while not ((folder / "checkpoint-2" / "trainer_state.json").exists() and len(log(folder)) >= 3):
        assert process.poll() is None, "the run ended before it was killed"
        assert time.monotonic() < deadline
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not (folder / "model.safetensors").exists()

    # One start runs both: the one that goes on comes first, with nothing but what is on disk.
    run_commands(tmp_path, training, command("train", **settings, output_dir=tmp_path / "whole"))
    whole, resumed = weights(tmp_path / "whole"), weights(folder)
    assert all(torch.equal(resumed[name], tensor) for name, tensor in whole.items())
    clocks = ("time", "runtime", "per_second", "num_tokens")
    for a, b in zip(log(tmp_path / "whole"), log(folder), strict=True):
        for name in a:
            if not any(clock in name for clock in clocks):
                assert a[name] == b[name], name
    assert (tmp_path / "whole" / "training_rollouts.jsonl").read_text() == (
        folder / "training_rollouts.jsonl"
    ).read_text()
    assert (tmp_path / "whole" / "stability.json").read_text() == (folder / "stability.json").read_text()
    assert (tmp_path / "whole" / "stability.jsonl").read_text() == (folder / "stability.jsonl").read_text()


def test_two_processes_ask_for_the_same_lengths(made):
    folder = made / "lengths"
    one, two = weights(folder / "one"), weights(folder / "two")
    for name, tensor in one.items():
        torch.testing.assert_close(two[name], tensor, rtol=1e-4, atol=2e-5)
    (whole,), (split,) = log(folder / "one"), log(folder / "two")
    assert split["attnpo/reward"] == pytest.approx(whole["attnpo/reward"], abs=1e-6)
    prompts = (folder / "one" / "training_rollouts.jsonl").read_text()
    halves = [(folder / "two" / f"training_rollouts-{rank:05d}.jsonl").read_text() for rank in (0, 1)]
    assert prompts.count("Think for") == 12 == sum(half.count("Think for") for half in halves)
