"""Whole runs through the command line: two processes against one, and a killed run against one that was not."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from probe_set import probe_set
from safetensors.torch import load_file
from small_training import SETTINGS
from transformers import AutoTokenizer

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
ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}


def command(output_dir: Path, processes: int = 1, **settings) -> list[str]:
    flags = {**FLAGS, "output_dir": output_dir, **settings}
    arguments = ["train", *(part for name, value in flags.items() for part in (f"--{name}", str(value)))]
    if processes == 1:
        return [sys.executable, "-m", "attnpo", *arguments]
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    # accelerate reads the same variables from either launcher; its own starts several CPU processes through MPI only.
    launch = ["-m", "torch.distributed.run", "--nproc_per_node", str(processes), "--master_addr", "127.0.0.1"]
    return [sys.executable, *launch, "--master_port", str(port), "-m", "attnpo", *arguments]


def run(argv: list[str]) -> None:
    done = subprocess.run(argv, env=ENVIRONMENT, capture_output=True, text=True, timeout=400)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return load_file(folder / "model.safetensors")


def log(folder: Path) -> list[dict]:
    rows = [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
    return [row for row in rows if "attnpo/accuracy" in row]


@pytest.fixture
def probe(tmp_path) -> dict[str, object]:
    """Settings that probe every step and exchange the heads at once: 0.0 does not rank steps."""
    write_rollouts(tmp_path / "probe.jsonl", probe_set(AutoTokenizer.from_pretrained(checkpoint_path())))
    return {
        "heads": "0.0",
        "probe": tmp_path / "probe.jsonl",
        "probe_every": 1,
        "probe_min_sra": 0.9,
        "probe_reselect": True,
    }


def test_two_processes_equal_one(tmp_path, probe):
    # A group of 4 is split over the processes (2 rows each per micro-batch of 6): 12 rows in all.
    settings = {"num_generations": 4, "max_steps": 2, "save_strategy": "no", **probe}
    run(command(tmp_path / "one", per_device_train_batch_size=12, **settings))
    run(command(tmp_path / "two", processes=2, per_device_train_batch_size=6, **settings))
    one, two = weights(tmp_path / "one"), weights(tmp_path / "two")
    for name, tensor in one.items():
        torch.testing.assert_close(two[name], tensor, rtol=1e-4, atol=2e-5)
    for a, b in zip(log(tmp_path / "one"), log(tmp_path / "two"), strict=True):
        names = {name for name in a if name.startswith("attnpo/")}
        names.remove("attnpo/extra_attention")  # a cost: it depends on which rows share a pass
        assert len(names) >= 14
        for name in names:
            assert b[name] == pytest.approx(a[name], rel=1e-4, abs=1e-6), name
    stable, also = (StabilityResult.load(tmp_path / name / "stability.json") for name in ("one", "two"))
    assert [(each.step, each.old) for each in stable.reselections] == [(0, [(0, 0)])]
    assert also.reselections == stable.reselections
    assert [point.heads for point in also.points] == [point.heads for point in stable.points]
    for a, b in zip(stable.points, also.points, strict=True):
        assert b.pearson.value == pytest.approx(a.pearson.value, abs=1e-4)
        assert b.sra.value == pytest.approx(a.sra.value, abs=0.01)


def test_a_killed_run_goes_on_with_the_same_numbers(tmp_path, probe):
    settings = {
        **probe,
        "per_device_train_batch_size": 8,
        "max_steps": 5,
        "save_strategy": "steps",
        "save_steps": 2,
        "save_rollouts": True,
        "resume_from_checkpoint": True,
    }
    run(command(tmp_path / "whole", **settings))

    folder = tmp_path / "killed"
    process = subprocess.Popen(
        command(folder, **settings), env=ENVIRONMENT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    deadline = time.monotonic() + 300
    while not ((folder / "checkpoint-2" / "trainer_state.json").exists() and len(log(folder)) >= 3):
        assert process.poll() is None, "the run ended before it was killed"
        assert time.monotonic() < deadline
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not (folder / "model.safetensors").exists()

    run(command(folder, **settings))
    whole, resumed = weights(tmp_path / "whole"), weights(folder)
    assert all(torch.equal(resumed[name], tensor) for name, tensor in whole.items())
    clocks = ("time", "runtime", "per_second", "num_tokens")
    for a, b in zip(log(tmp_path / "whole"), log(folder), strict=True):
        for name in a:
            if not any(clock in name for clock in clocks):
                assert a[name] == b[name], name
    assert (tmp_path / "whole" / "rollouts.jsonl").read_text() == (folder / "rollouts.jsonl").read_text()
    assert (tmp_path / "whole" / "stability.json").read_text() == (folder / "stability.json").read_text()
    assert (tmp_path / "whole" / "stability.jsonl").read_text() == (folder / "stability.jsonl").read_text()


def test_two_processes_ask_for_the_same_lengths(tmp_path):
    # l1_exact draws a length a group, asks for it in the prompt and reads it back when rewards are in.
    settings = {
        "method": "l1_exact",
        "method_settings": '{"shortest_request": 8, "longest_request": 64, "alpha": 0.01}',
        "num_generations": 4,
        "max_steps": 1,
        "save_strategy": "no",
        "save_rollouts": True,
    }
    run(command(tmp_path / "one", per_device_train_batch_size=12, **settings))
    run(command(tmp_path / "two", processes=2, per_device_train_batch_size=6, **settings))
    one, two = weights(tmp_path / "one"), weights(tmp_path / "two")
    for name, tensor in one.items():
        torch.testing.assert_close(two[name], tensor, rtol=1e-4, atol=2e-5)
    (whole,), (split,) = log(tmp_path / "one"), log(tmp_path / "two")
    assert split["attnpo/reward"] == pytest.approx(whole["attnpo/reward"], abs=1e-6)
    prompts = (tmp_path / "one" / "rollouts.jsonl").read_text()
    halves = [(tmp_path / "two" / f"rollouts-{rank:05d}.jsonl").read_text() for rank in (0, 1)]
    assert prompts.count("Think for") == 12 == sum(half.count("Think for") for half in halves)
