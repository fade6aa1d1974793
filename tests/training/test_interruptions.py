"""A run on two processes that is asked to end goes on as if nothing had been."""

from __future__ import annotations

import json
import signal
import subprocess
import time

import pytest
import torch
import transformers
from commands import command, run_commands
from layouts import ENVIRONMENT, starting
from packaging.version import Version
from safetensors.torch import load_file
from small_training import SETTINGS

from attnpo.cli import main as entry
from attnpo.training import TrainingInterrupted

FLAGS = {
    **SETTINGS,
    "model": "tinyworld",
    "data": "tinyworld",
    "num_problems": 7,  # two steps an epoch
    "per_device_train_batch_size": 6,  # groups of 4: one is split over the processes
    "gradient_accumulation_steps": 1,
    "max_completion_length": 48,
    "max_steps": 6,
    "resume_from_checkpoint": True,
}


@pytest.mark.slow
@pytest.mark.skipif(
    Version(transformers.__version__) < Version("5.23"), reason="this transformers loads no optimizer onto cpu:0"
)
def test_two_processes_stop_together_and_go_on_with_the_same_numbers(tmp_path):
    folder = tmp_path / "stopped"
    training = command("train", **FLAGS, output_dir=folder)
    with (tmp_path / "said").open("w") as said:
        process = subprocess.Popen(starting(2, "-m", "attnpo", *training), env=ENVIRONMENT, stdout=said, stderr=said)
        log, deadline = folder / "log.jsonl", time.monotonic() + 400
        while not (log.exists() and log.read_text().count("\n") >= 1):
            assert process.poll() is None, "the run ended before it was asked to"
            assert time.monotonic() < deadline
            time.sleep(0.01)
        process.send_signal(signal.SIGTERM)  # the launcher passes it on
        assert process.wait(timeout=300) != 0
    (checkpoint,) = folder.glob("checkpoint-*")
    assert {path.name for path in checkpoint.glob("rng_state_*")} == {"rng_state_0.pth", "rng_state_1.pth"}
    assert not (folder / "model.safetensors").exists()
    assert f"saved {folder}/{checkpoint.name}" in (tmp_path / "said").read_text()
    # One start runs both: the one that goes on comes first, with nothing but what is on disk.
    run_commands(tmp_path, training, command("train", **FLAGS, output_dir=tmp_path / "whole"), processes=2)
    whole, resumed = (load_file(tmp_path / name / "model.safetensors") for name in ("whole", "stopped"))
    assert all(torch.equal(resumed[name], tensor) for name, tensor in whole.items())
    rows = [
        [json.loads(line) for line in (tmp_path / name / "log.jsonl").read_text().splitlines()]
        for name in ("whole", "stopped")
    ]
    for a, b in zip(*rows, strict=True):
        assert {k: v for k, v in a.items() if k.startswith("attnpo/")} == {
            k: b[k] for k in b if k.startswith("attnpo/")
        }


@pytest.mark.parametrize("code", [130, 143])
def test_the_command_ends_with_the_signals_code(monkeypatch, capsys, code):
    def interrupted(argv):
        raise TrainingInterrupted("stopped after step 3 of 9; saved runs/a/checkpoint-3", code)

    monkeypatch.setattr("attnpo.cli.train.run", interrupted)
    with pytest.raises(SystemExit) as caught:
        entry.main(["train"])
    assert caught.value.code == code
    assert "attnpo train: stopped after step 3 of 9; saved runs/a/checkpoint-3" in capsys.readouterr().err
