"""What a run writes besides its checkpoints."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments
from transformers.trainer_callback import ExportableState

from attnpo.credit import Method
from attnpo.errors import ConfigError
from attnpo.ledger import Ledger, json_row


class LogFileCallback(TrainerCallback):
    """Appends every log line to a JSON Lines file as it is made, so that others can follow a run."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Drop lines of steps that a resumed run makes again."""
        if not state.is_world_process_zero:
            return
        self.path.parent.mkdir(parents=True, exist_ok=True)
        keep_rows_before(self.path, "step", state.global_step + 1)

    def on_log(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        logs: dict[str, float] | None = None,
        **kwargs: Any,
    ) -> None:
        """Append one line."""
        if state.is_world_process_zero and logs is not None:
            with self.path.open("a", encoding="utf-8") as file:
                file.write(json.dumps({**logs, "step": state.global_step, "max_steps": state.max_steps}) + "\n")


class RolloutsFileCallback(TrainerCallback):
    """Drops rows (training responses, dropped prompts) that a resumed run makes again.

    Args:
        paths: files of rows with a `train_step`.
    """

    def __init__(self, *paths: Path) -> None:
        self.paths = paths

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Keep the rows of steps before the one that training goes on from."""
        for path in self.paths:
            keep_rows_before(path, "train_step", state.global_step)


class MethodStateCallback(TrainerCallback, ExportableState):
    """Keeps what a method has learnt (`Method.state_dict`) in `trainer_state.json` of every checkpoint."""

    def __init__(self, method: Method) -> None:
        self.method = method

    def state(self) -> dict[str, Any]:
        """Return what transformers writes into the checkpoint."""
        return {"args": {}, "attributes": {self.method.name: self.method.state_dict()}}

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Go on from the checkpoint's state.

        Raises:
            ConfigError: it holds none of this method.
        """
        if state.global_step == 0:
            return
        saved = (state.stateful_callbacks or {}).get(type(self).__name__)
        if not isinstance(saved, dict) or self.method.name not in saved["attributes"]:
            raise ConfigError(
                f"resume_from_checkpoint: it holds no state of method '{self.method.name}'; go on with the method that "
                "it was made with, or start anew"
            )
        self.method.load_state_dict(saved["attributes"][self.method.name])


class BeginCallback(TrainerCallback):
    """Calls functions where an epoch and where an optimizer step begins.

    Args:
        epoch: called before the first batch of an epoch is drawn, with the number of whole epochs before it.
        step: called before the first micro-batch of each optimizer step.
    """

    def __init__(self, epoch: Callable[[int], None], step: Callable[[], None]) -> None:
        self.epoch, self.step = epoch, step

    def on_epoch_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Call what waits for an epoch."""
        self.epoch(int((state.epoch or 0.0) + 1e-6))

    def on_step_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Call what waits for a step."""
        self.step()


class PreparationCallback(TrainerCallback):
    """Lets a method measure the untrained policy before the first step of a run.

    Args:
        prepare: measures it.
        check_prepared: checks that a run that goes on from a checkpoint lacks nothing of it.
    """

    def __init__(self, prepare: Callable[[], None], check_prepared: Callable[[], None]) -> None:
        self.prepare, self.check_prepared = prepare, check_prepared

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Prepare; where the run goes on from a checkpoint, whose policy is trained, check what that holds."""
        if state.global_step == 0:
            self.prepare()
        else:
            self.check_prepared()


def make_room(state: TrainerState, callbacks: Iterable[TrainerCallback | TrainerControl]) -> None:
    """Let callbacks be saved of which the checkpoint that a run goes on from holds nothing.

    transformers makes room for a callback's state where a run begins, and takes what it finds where one goes on.
    """
    for callback in callbacks:
        if isinstance(callback, ExportableState):
            state.stateful_callbacks.setdefault(type(callback).__name__, {})


def join_states(states: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return one method state from those of all processes: what is kept by name is united."""
    joined: dict[str, Any] = {}
    for state in states:
        for name, value in state.items():
            if isinstance(value, Mapping) and isinstance(joined.get(name), Mapping):
                joined[name] = {**joined[name], **value}
            else:
                joined.setdefault(name, value)
    return joined


def keep_rows_before(path: Path, name: str, limit: int) -> None:
    """Rewrite a JSON Lines file without the rows whose `name` (or `extra.name`) is `limit` or more."""
    keep_rows(path, name, lambda value: value < limit)


def keep_rows(path: Path, name: str, wanted: Callable[[int], bool]) -> None:
    """Rewrite a JSON Lines file, keeping the rows whose `name` (or `extra.name`) is wanted."""
    if path.exists():
        place = json_row("a row of a run", lambda row: int(row[name] if name in row else row["extra"][name]))
        Ledger(path, place).keep(wanted)
