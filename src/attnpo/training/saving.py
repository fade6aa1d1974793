"""Checkpoints that are whole: which one is, what becomes of a half-written one, when one may be written."""

from __future__ import annotations

import errno
import json
import logging
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

log = logging.getLogger(__name__)

STATE = "trainer_state.json"
_FOLDER = re.compile(r"checkpoint-(\d+)")
_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO, errno.EFBIG}
# What safetensors (by version) and torch say in place of an OSError when a write fails.
_NUMBER = re.compile(r"(?:os error|code:) (\d+)")
_TORCH = "PytorchStreamWriter failed writing"


def is_whole(checkpoint: Path) -> bool:
    """Whether a checkpoint was written to its end: `trainer_state.json` is what is written last, weights lie beside."""
    try:
        state = json.loads((checkpoint / STATE).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    weights = any(
        True
        for pattern in ("*.safetensors", "*.bin", "pytorch_model_fsdp*", "global_step*")
        for _ in checkpoint.glob(pattern)
    )
    return isinstance(state, dict) and "global_step" in state and weights


def checkpoints(output_dir: Path | str) -> list[Path]:
    """Return the checkpoints of a run, oldest first, half-written ones too."""
    found = [
        (int(match[1]), path)
        for path in Path(output_dir).glob("checkpoint-*")
        if (match := _FOLDER.fullmatch(path.name))
    ]
    return [path for _, path in sorted(found) if path.is_dir()]


def newest_whole(output_dir: Path | str) -> str | None:
    """Return the newest checkpoint that was written to its end, None where there is none; warns of newer ones."""
    for path in reversed(checkpoints(output_dir)):
        if is_whole(path):
            return str(path)
        log.warning("%s: was not written to its end (killed, disk full); passed over", path)
    return None


def remove_half_written(output_dir: Path | str) -> list[Path]:
    """Remove the checkpoints newer than the newest whole one, and return them."""
    removed = []
    for path in reversed(checkpoints(output_dir)):
        if is_whole(path):
            break
        shutil.rmtree(path, ignore_errors=True)
        removed.append(path)
    return removed


def says_disk_full(error: BaseException) -> bool:
    """Whether an error says that the disk is full, broken or not to be written to."""
    if isinstance(error, OSError):
        return error.errno in _FULL
    if isinstance(error, SafetensorError):
        number = _NUMBER.search(str(error))
        return number is not None and int(number[1]) in _FULL
    return isinstance(error, RuntimeError) and _TORCH in str(error)


class BorderCallback(TrainerCallback):
    """Lets checkpoints wait until the sampled responses are used up.

    Several updates may be made with one batch of responses (`num_iterations`, `steps_per_generation`). The batch is in
    no checkpoint, so a run can be gone on from exactly only where the next step samples anew.

    Args:
        span: micro-batches that a batch of responses serves.
        made: returns the micro-batches since training was started or gone on with, by which TRL samples too; optimizer
            steps do not tell them, for an epoch's last one may be short.
    """

    def __init__(self, span: int, made: Callable[[], int]) -> None:
        self.span = span
        self.made = made
        self._waiting = False

    def is_border(self) -> bool:
        """Whether the next micro-batch samples anew."""
        return self.made() % self.span == 0

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        """Put off what is due in the middle of a batch; the end of the run is no middle."""
        if state.global_step >= state.max_steps:
            return
        if control.should_save and not self.is_border():
            control.should_save, self._waiting = False, True
        elif self._waiting and self.is_border():
            control.should_save, self._waiting = True, False
