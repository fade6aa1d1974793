"""What lets a run last for days: it ends cleanly, names its last good checkpoint, and goes on from it exactly."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from safetensors import SafetensorError
from transformers import Trainer
from transformers.trainer_utils import TrainOutput

from attnpo.errors import OutputError, TrainingError
from attnpo.training.interrupts import InterruptCallback
from attnpo.training.loss_mean import LossMeanCallback
from attnpo.training.nan_guard import NanGuardCallback, says_no_scale_left
from attnpo.training.patient_client import PatientClient
from attnpo.training.saving import BorderCallback, newest_whole, remove_half_written, says_disk_full
from attnpo.training.updates import RunFinished, UpdatesCallback

TRAIN_LOSS = "train_loss"
"""transformers' name of the mean loss in the last line of a run."""


class LongRun:
    """A stated behaviour for what goes wrong in a long run; docs/faults.md has the table.

    Args:
        trainer: TRL's trainer, set up; callbacks are added to it.
        budget_is_spent: whether the run ends before its last step.
        micro_batches: returns TRL's count of micro-batches.

    Attributes:
        updates: counts optimizer steps that had a gradient.
        nan_guard: skips updates that are not finite.
        loss_mean: the whole run's mean loss.
        interrupts: ends the run on Ctrl-C and SIGTERM.
    """

    def __init__(self, trainer: Any, budget_is_spent: Callable[[], bool], micro_batches: Callable[[], int]) -> None:
        self.trainer, args = trainer, trainer.args
        border = BorderCallback(args.steps_per_generation * trainer.num_iterations, micro_batches)
        self.updates = UpdatesCallback(budget_is_spent)
        self.nan_guard = NanGuardCallback(
            args.max_skipped_updates,
            self._sum,
            self._last_checkpoint,
            deepspeed=lambda: trainer.model_wrapped if trainer.is_deepspeed_enabled else None,
            scaler=lambda: trainer.accelerator.scaler,
            on_update=self.updates.note_update,
        )
        self.loss_mean = LossMeanCallback(lambda loss: self._sum(loss) / trainer.accelerator.num_processes)
        self.interrupts = InterruptCallback(self._sum, border.is_border, trainer.accelerator.device)
        # The signal's last: it ends the run after a save.
        for callback in (self.nan_guard, self.loss_mean, self.updates, border, self.interrupts):
            trainer.add_callback(callback)
        self._make_patient()

    def train(self, train: Callable[[], TrainOutput]) -> TrainOutput:
        """Train, given transformers' own way to.

        Raises:
            TrainingInterrupted: Ctrl-C or SIGTERM; a checkpoint was saved.
            TrainingError: updates or weights were not finite, a reward function kept failing, a server stayed away, or
                the data gave no batch.
            OutputError: the disk is full or broken.
        """
        trainer: Trainer = self.trainer
        with self.interrupts.requests.installed():
            try:
                with self.named_disk_errors(), self.named_end_of_scales():
                    output = train()
            except RunFinished:
                trainer.is_in_train = False
                output = TrainOutput(trainer.state.global_step, 0.0, {})
        self.updates.check_steps(trainer.state)
        metrics = self.whole_loss(output.metrics) if output.metrics else {}
        return output._replace(training_loss=self.loss_mean.mean, metrics=metrics)

    def whole_loss(self, logs: dict[str, float]) -> dict[str, float]:
        """Return a log line whose `train_loss` is the whole run's."""
        return {**logs, TRAIN_LOSS: self.loss_mean.mean}

    def save(self, save: Callable[[], None]) -> None:
        """Save the model, given transformers' own way to.

        Raises:
            OutputError: the disk is full or broken.
            TrainingError: the weights are not finite; nothing is written.
        """
        self.nan_guard.check_weights(self.trainer.model.parameters(), self.trainer.state.global_step)
        with self.named_disk_errors():
            save()

    @contextmanager
    def named_disk_errors(self) -> Iterator[None]:
        """Turn a full disk into one line that names the last good checkpoint; half-written ones are removed."""
        try:
            yield
        except (OSError, SafetensorError, RuntimeError) as error:
            if not says_disk_full(error):
                raise
            folder = self.trainer.args.output_dir
            removed = "".join(f"{path.name} was half written and is removed; " for path in remove_half_written(folder))
            said = " ".join(str(error).split())
            raise OutputError(
                f"{folder}: cannot be written ({said}); {removed}last good checkpoint: "
                f"{newest_whole(folder) or 'none yet'}; make room, then the same command with "
                "--resume_from_checkpoint true goes on"
            ) from error

    @contextmanager
    def named_end_of_scales(self) -> Iterator[None]:
        """Turn DeepSpeed's end under fp16 into one line that names the last good checkpoint."""
        try:
            yield
        except Exception as error:  # it has no type of its own
            if not says_no_scale_left(error):
                raise
            raise TrainingError(
                f"step {self.trainer.state.global_step + 1}: the gradient was not finite at any loss scale down to "
                f"DeepSpeed's least (fp16.min_loss_scale), no update was made; last good checkpoint: "
                f"{self._last_checkpoint() or 'none yet'}; train in bf16, lower learning_rate, or look at the rewards"
            ) from error

    def _sum(self, tensor: torch.Tensor) -> torch.Tensor:
        accelerator = self.trainer.accelerator
        summed: torch.Tensor = accelerator.reduce(tensor.to(accelerator.device), reduction="sum")
        return summed

    def _last_checkpoint(self) -> str | None:
        return newest_whole(self.trainer.args.output_dir)

    def _make_patient(self) -> None:
        generation = getattr(self.trainer, "vllm_generation", None)
        if generation is None or getattr(generation, "vllm_client", None) is None:
            return
        sharded = self.trainer.is_fsdp_enabled or self.trainer.is_deepspeed_enabled
        generation.vllm_client = PatientClient(
            generation.vllm_client,
            self.trainer.args.vllm_server_timeout,
            None if sharded else generation.sync_weights,
            self.trainer.accelerator.device,
            self._last_checkpoint,
        )
