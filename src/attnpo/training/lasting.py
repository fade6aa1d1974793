"""What lets a run last for days: it ends cleanly, names its last good checkpoint, and goes on from it exactly."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from safetensors import SafetensorError
from transformers.trainer_utils import TrainOutput

from attnpo.errors import OutputError, one_line
from attnpo.training.loss_mean import LossMeanCallback
from attnpo.training.nan_guard import NanGuardCallback
from attnpo.training.patient_client import PatientClient
from attnpo.training.saving import BorderCallback, newest_whole, remove_half_written, says_disk_full
from attnpo.training.signals import SignalCallback
from attnpo.training.trl_hooks import StepCreditTrainer
from attnpo.training.updates import RunFinished, UpdatesCallback

TRAIN_LOSS = "train_loss"
"""transformers' name of the mean loss in the last line of a run."""


class LastingTrainer(StepCreditTrainer):
    """`StepCreditTrainer` with a stated behaviour for what goes wrong in a long run; docs/faults.md has the table."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        accumulation = self.args.gradient_accumulation_steps
        border = BorderCallback(self.args.steps_per_generation * self.num_iterations, accumulation)
        self.updates = UpdatesCallback(self._budget_is_spent)
        self.nan_guard = NanGuardCallback(
            self.args.max_skipped_updates,
            self._sum,
            self._last_checkpoint,
            deepspeed=lambda: self.model_wrapped if self.is_deepspeed_enabled else None,
            on_update=self.updates.note_update,
        )
        self.loss_mean = LossMeanCallback(lambda loss: self._sum(loss) / self.accelerator.num_processes)
        self._signals = SignalCallback(self._sum, border.is_border, self.accelerator.device)
        for callback in (
            self.nan_guard,
            self.loss_mean,
            self.updates,
            border,
            self._signals,
        ):  # the signal's last: it ends the run after a save
            self.add_callback(callback)
        self._make_patient()

    def train(self, *args: Any, **kwargs: Any) -> Any:
        """Train; see transformers' `Trainer.train`.

        Raises:
            TrainingInterrupted: Ctrl-C or SIGTERM; a checkpoint was saved.
            TrainingError: updates or weights were not finite, a reward function kept failing, a server stayed away, or
                the data gave no batch.
            OutputError: the disk is full or broken.
        """
        self._signals.install()
        try:
            with self._named_disk_errors():
                output = super().train(*args, **kwargs)
        except RunFinished:
            self.is_in_train = False
            output = TrainOutput(self.state.global_step, 0.0, {})
        finally:
            self._signals.restore()
        self.updates.check_steps(self.state)
        metrics = {**output.metrics, TRAIN_LOSS: self.loss_mean.mean} if output.metrics else {}
        return output._replace(training_loss=self.loss_mean.mean, metrics=metrics)

    def training_step(self, *args: Any, **kwargs: Any) -> torch.Tensor:
        """Make a micro-batch's passes; see transformers' `Trainer.training_step`."""
        loss: torch.Tensor = super().training_step(*args, **kwargs)
        self.loss_mean.add(loss)
        return loss

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """Log; the last line's `train_loss` is the whole run's."""
        if TRAIN_LOSS in logs:
            logs = {**logs, TRAIN_LOSS: self.loss_mean.mean}
        super().log(logs, start_time)

    def _budget_is_spent(self) -> bool:
        budget = self.args.max_sampled_tokens
        return budget is not None and self.token_count.sampled >= budget

    def save_model(self, *args: Any, **kwargs: Any) -> None:
        """Save the model; see transformers' `Trainer.save_model`.

        Raises:
            OutputError: the disk is full or broken.
            TrainingError: the weights are not finite; nothing is written.
        """
        self.nan_guard.check_weights(self.model.parameters(), self.state.global_step)
        with self._named_disk_errors():
            super().save_model(*args, **kwargs)

    @contextmanager
    def _named_disk_errors(self) -> Iterator[None]:
        """Turn a full disk into one line that names the last good checkpoint; half-written ones are removed."""
        try:
            yield
        except (OSError, SafetensorError, RuntimeError) as error:
            if not says_disk_full(error):
                raise
            folder = self.args.output_dir
            removed = "".join(f"{path.name} was half written and is removed; " for path in remove_half_written(folder))
            said = one_line(error)
            raise OutputError(
                f"{folder}: cannot be written ({said}); {removed}last good checkpoint: "
                f"{newest_whole(folder) or 'none yet'}; make room, then the same command with "
                "--resume_from_checkpoint true goes on"
            ) from error

    def _sum(self, tensor: torch.Tensor) -> torch.Tensor:
        return self.accelerator.reduce(tensor.to(self.accelerator.device), reduction="sum")

    def _last_checkpoint(self) -> str | None:
        return newest_whole(self.args.output_dir)

    def _make_patient(self) -> None:
        generation = getattr(self, "vllm_generation", None)
        if generation is None or getattr(generation, "vllm_client", None) is None:
            return
        sharded = self.is_fsdp_enabled or self.is_deepspeed_enabled
        generation.vllm_client = PatientClient(
            generation.vllm_client,
            self.args.vllm_server_timeout,
            None if sharded else generation.sync_weights,
            self.accelerator.device,
            self._last_checkpoint,
        )
