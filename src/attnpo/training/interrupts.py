"""Ctrl-C and SIGTERM: the step is finished and saved, then the run ends; a second signal ends it at once."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from typing import Any

import torch
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from attnpo.interrupts import SIGNALS, Interrupts, end_by


class TrainingInterrupted(KeyboardInterrupt):
    """Training was asked to end and has saved a checkpoint.

    Attributes:
        code: exit code by convention, 128 + number of the signal: 130 after Ctrl-C, 143 after SIGTERM.
    """

    def __init__(self, message: str, code: int) -> None:
        super().__init__(message)
        self.code = code


class InterruptCallback(TrainerCallback):
    """Ends a run at the next step that can be gone on from exactly, on all processes alike, with a checkpoint.

    Args:
        reduce_sum: sums a tensor over processes.
        can_stop: whether a run can be gone on from exactly after the step that has just ended.
        device: where tensors for `reduce_sum` have to lie.

    Attributes:
        requests: takes the signals over.
    """

    def __init__(
        self,
        reduce_sum: Callable[[torch.Tensor], torch.Tensor],
        can_stop: Callable[[], bool],
        device: torch.device | str = "cpu",
    ) -> None:
        self.reduce_sum = reduce_sum
        self.can_stop = can_stop
        self.device = device
        self.requests = Interrupts(self._say, self._quit)
        self._is_first = True

    @property
    def received(self) -> int | None:
        """Return the signal that ends the run; None where there is none."""
        return self.requests.received

    def _say(self, number: int) -> None:
        if self._is_first:
            # Not print: the signal may have come in the middle of one.
            said = "finishing this step, then saving; again: quit at once"
            os.write(sys.stderr.fileno(), f"\n{signal.Signals(number).name}: {said}\n".encode())

    def _quit(self, number: int) -> None:
        self.requests.restore()
        end_by(number)

    def agree(self) -> bool:
        """Whether any process has received a signal; asked on all processes alike."""
        mine = torch.zeros(len(SIGNALS), device=self.device)
        if self.received is not None:
            mine[SIGNALS.index(signal.Signals(self.received))] = 1
        counts = self.reduce_sum(mine).tolist()
        if any(counts):
            self.requests.received = next(int(number) for number, count in zip(SIGNALS, counts, strict=True) if count)
        return any(counts)

    def stop_before_training(self, kept: str) -> None:
        """End a run that has not made a step yet.

        Args:
            kept: what lies on disk and need not be done again.

        Raises:
            TrainingInterrupted: a signal was received.
        """
        if self.agree() and self.received is not None:
            name = signal.Signals(self.received).name
            raise TrainingInterrupted(
                f"{name}: stopped before the first step; {kept}; the same command goes on", 128 + self.received
            )

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Note which process speaks."""
        self._is_first = state.is_world_process_zero

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        """Ask for a checkpoint once any process has received a signal."""
        if not self.can_stop() or state.global_step >= state.max_steps:
            return
        if self.agree():
            control.should_save = control.should_training_stop = True

    def on_save(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        """End the run, now that the checkpoint is whole.

        Raises:
            TrainingInterrupted: a signal was received.
        """
        if self.received is None or not control.should_training_stop or state.global_step >= state.max_steps:
            return
        raise TrainingInterrupted(
            f"{signal.Signals(self.received).name}: stopped after step {state.global_step} of {state.max_steps}; saved "
            f"{args.output_dir}/checkpoint-{state.global_step}; the same command with --resume_from_checkpoint true "
            "goes on",
            128 + self.received,
        )
