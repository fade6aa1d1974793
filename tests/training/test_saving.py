from __future__ import annotations

import errno
import json
from pathlib import Path
from types import SimpleNamespace

import pytest
from safetensors import SafetensorError
from transformers import TrainerControl

from attnpo.training.saving import (
    BorderCallback,
    is_whole,
    newest_whole,
    remove_half_written,
    says_disk_full,
)


def checkpoint(folder: Path, step: int, state: str | None = "whole", weights: str | None = "model.safetensors") -> Path:
    path = folder / f"checkpoint-{step}"
    path.mkdir()
    if weights:
        (path / weights).write_bytes(b"x")
    if state is not None:
        (path / "trainer_state.json").write_text(json.dumps({"global_step": step}) if state == "whole" else state)
    return path


def test_the_newest_whole_checkpoint_by_number_not_by_name_or_time(tmp_path):
    for step in (100, 20, 9):
        checkpoint(tmp_path, step)
    (tmp_path / "checkpoint-old").mkdir()
    assert newest_whole(tmp_path) == str(tmp_path / "checkpoint-100")
    assert newest_whole(tmp_path / "none") is None


@pytest.mark.parametrize(
    ("state", "weights"),
    [
        (None, "model.safetensors"),
        ('{"global_step": 3', "model.safetensors"),
        ("[]", "model.safetensors"),
        ("whole", None),
    ],
    ids=["no state", "half a state", "no state in it", "no weights"],
)
def test_a_half_written_checkpoint_is_passed_over_and_removed(tmp_path, state, weights, caplog):
    good = checkpoint(tmp_path, 2, weights="adapter_model.safetensors")
    bad = checkpoint(tmp_path, 3, state, weights)
    assert is_whole(good)
    assert not is_whole(bad)
    assert newest_whole(tmp_path) == str(good)
    assert "checkpoint-3" in caplog.text
    assert remove_half_written(tmp_path) == [bad]
    assert not bad.exists()
    assert good.exists()


@pytest.mark.parametrize(
    ("error", "full"),
    [
        (OSError(errno.ENOSPC, "No space left on device"), True),
        (OSError(errno.EACCES, "Permission denied"), False),
        (SafetensorError('IoError(Os { code: 28, kind: StorageFull, message: "No space left on device" })'), True),
        (SafetensorError("Error while serializing: I/O error: File too large (os error 27)"), True),
        (SafetensorError("Error while serializing: I/O error: Permission denied (os error 13)"), False),
        (RuntimeError("[enforce fail at inline_container.cc:664] . unexpected pos 64 vs 0"), False),
        (RuntimeError("PytorchStreamWriter failed writing file data/0: file write failed"), True),
        (ValueError("No space left"), False),
    ],
)
def test_which_errors_say_that_the_disk_is_full(error, full):
    assert says_disk_full(error) is full


def test_checkpoints_wait_until_the_responses_are_used_up():
    # Batches of responses serve 6 micro-batches, an optimizer step takes 2: borders are steps 3, 6, 9.
    assert saved_at([2] * 10, wanted=(1, 2, 6, 8, 10)) == [3, 6, 9, 10]


def test_a_short_step_at_an_epochs_end_moves_the_borders():
    # An epoch has 18 micro-batches: steps of 4, 4, 4, 4 and 2. The second batch's end, 12, is that of step 3.
    epoch = [4, 4, 4, 4, 2]
    assert saved_at(epoch * 2, wanted=range(1, 11)) == [3, 5, 8, 10]
    assert saved_at(epoch * 2, wanted=(6,)) == [8]


def saved_at(micro_batches, wanted):
    """The steps after which a checkpoint is written, given each step's micro-batches and where one is due."""
    made = [0]
    callback, saved = BorderCallback(span=6, made=lambda: made[0]), []
    for step, count in enumerate(micro_batches, 1):
        made[0] += count
        control = TrainerControl(should_save=step in wanted)
        callback.on_step_end(None, SimpleNamespace(global_step=step, max_steps=len(micro_batches)), control)
        saved += [step] * control.should_save
    return saved
