"""Arms of an experiment on the small world: the same model and budget, one way of assigning credit each.

Each arm is trained and then evaluated in processes of its own, so that several run side by side, one thread each.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rich.progress import Progress, TaskID

from attnpo.errors import AttnPOError
from attnpo.output import write_atomically

STEPS = {"segmentation": "paragraphs", "verifier": "exact"}
"""How the small world's responses are cut and judged: one paragraph a step, exact answers."""

TRAINING: dict[str, Any] = {
    "model": "tinyworld",
    "data": "tinyworld",
    "num_problems": 4096,
    "num_generations": 8,
    "per_device_train_batch_size": 32,
    "gradient_accumulation_steps": 4,
    "max_completion_length": 256,
    "learning_rate": 5e-4,
    "lr_scheduler_type": "linear",
    "warmup_steps": 2,
    "adam_beta2": 0.95,
    "max_grad_norm": 1.0,
    "temperature": 1.0,
    "group_sampler": True,
    "gradient_checkpointing": False,
    "bf16": False,
    "use_cpu": True,
    "logging_steps": 1,
    "save_strategy": "steps",
    "save_steps": 20,
    "save_total_limit": 1,
    "report_to": "none",
    "disable_tqdm": True,
    "step_labeler": "attnpo.tinyworld:label_steps",
    **STEPS,
}
"""One training run on the small world: 16 problems x 8 responses a step, on one CPU thread."""

EVALUATION: dict[str, Any] = {
    "data": "tinyworld",
    "samples_per_problem": 1,
    "max_new_tokens": 320,
    "temperature": 1.0,
    "top_p": 1.0,
    "device": "cpu",
    "labeler": "attnpo.tinyworld:label_steps",
    **STEPS,
}
"""How every model of the small world is measured: one response to each held-out problem at temperature 1."""


DISCOVERY: dict[str, Any] = {
    "model": "tinyworld",
    "data": "attnpo.tinyworld:train_dataset",
    "problems_seed": 1_000_003,
    "max_new_tokens": 320,
    "device": "cpu",
    "labeler": "attnpo.tinyworld:label_steps",
    **STEPS,
}
"""How the heads of the small world's model are found: never on the problems that models are measured on."""


def flags(settings: dict[str, Any]) -> list[str]:
    """Return settings as command-line flags."""
    return [part for name, value in settings.items() for part in (f"--{name}", str(value))]


@dataclass(frozen=True)
class Command:
    """One `attnpo` command in a process of its own.

    Attributes:
        name: the command.
        settings: its settings.
        done: file whose presence says that it ran to its end.
    """

    name: str
    settings: dict[str, Any]
    done: Path

    def argv(self) -> list[str]:
        """Return the command line."""
        return [sys.executable, "-m", "attnpo", self.name, *flags(self.settings)]


@dataclass
class Arm:
    """One arm: train, then evaluate.

    Attributes:
        name: name in tables and folders.
        folder: where its files go.
        commands: what is run, in order.
        max_steps: optimizer steps of its training, for the progress bar.
    """

    name: str
    folder: Path
    commands: list[Command]
    max_steps: int
    process: subprocess.Popen | None = field(default=None, repr=False)


def training_arm(
    name: str,
    folder: Path,
    *,
    max_steps: int,
    seed: int,
    num_eval: int,
    heads: Path | None,
    annotate: int = 0,
    settings: dict[str, Any] | None = None,
) -> Arm:
    """Return an arm that trains the small world's model and measures it on held-out problems.

    Args:
        name: the arm's name; the method unless `settings` names another.
        folder: where its files go.
        max_steps: optimizer steps; a quarter of them is T of the schedule (Eq. 8).
        seed: seed of the training run.
        num_eval: held-out problems to measure on.
        heads: head set to train with and to annotate traces with.
        annotate: how many problems to annotate traces of.
        settings: further training settings.
    """
    train = {
        **TRAINING,
        "method": name,
        "output_dir": folder,
        "max_steps": max_steps,
        "schedule_steps": max_steps // 4,
        "seed": seed,
        "problems_seed": seed,
        "resume_from_checkpoint": True,
        **({} if heads is None else {"heads": heads}),
        **(settings or {}),
    }
    evaluate = {
        **EVALUATION,
        "model": folder,
        "name": name,
        "num_problems": num_eval,
        "output_dir": folder,
        **({"heads": heads, "annotate_problems": annotate} if heads is not None and annotate else {}),
    }
    commands = [
        Command("train", train, folder / "trainer_state.json"),
        Command("evaluate", evaluate, folder / "evaluation.json"),
    ]
    return Arm(name, folder, commands, max_steps)


def run_arms(arms: Sequence[Arm], jobs: int, progress: Progress | None = None, poll_seconds: float = 0.5) -> None:
    """Run all arms, `jobs` at a time; arms already on disk are skipped, interrupted ones go on.

    Raises:
        AttnPOError: an arm failed (the message names its log file).
    """
    waiting = list(arms)
    running: list[dict[str, Any]] = []
    tasks: dict[str, TaskID] = {}
    with _killed_on_exit(arms):
        while waiting or running:
            while waiting and len(running) < jobs:
                arm = waiting.pop(0)
                running.append({"arm": arm, "queue": list(arm.commands)})
                if progress is not None:
                    label = f"{arm.folder.parent.name}/{arm.name}"
                    tasks[str(arm.folder)] = progress.add_task(label, total=arm.max_steps, note="starting")
            for slot in list(running):
                if not _advance(slot):
                    running.remove(slot)
                if progress is not None:
                    _show(progress, tasks[str(slot["arm"].folder)], slot)
            time.sleep(poll_seconds)


def _advance(slot: dict[str, Any]) -> bool:
    """Start the next command of an arm once the one before is over; False when none is left."""
    arm: Arm = slot["arm"]
    if arm.process is not None:
        code = arm.process.poll()
        if code is None:
            return True
        arm.process = None
        log = arm.folder / f"{slot['queue'][0].name}.out"
        if code != 0:
            last = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()[-1:] or ["no output"]
            raise AttnPOError(
                f"{arm.name}: {slot['queue'][0].name} failed with exit code {code}; see {log} ({last[0]})"
            )
        slot["queue"].pop(0)
    while slot["queue"] and slot["queue"][0].done.exists():
        slot["queue"].pop(0)
    if not slot["queue"]:
        return False
    command: Command = slot["queue"][0]
    arm.folder.mkdir(parents=True, exist_ok=True)
    write_atomically(arm.folder / f"{command.name}.command.txt", " ".join(["attnpo", *command.argv()[3:]]) + "\n")
    # One thread a process: small matrices gain nothing from more, and processes would fight over the cores.
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
    with (arm.folder / f"{command.name}.out").open("w", encoding="utf-8") as log_file:
        arm.process = subprocess.Popen(
            command.argv(), stdout=log_file, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL, env=environment
        )
    return True


def _show(progress: Progress, task: TaskID, slot: dict[str, Any]) -> None:
    arm: Arm = slot["arm"]
    if not slot["queue"]:
        progress.update(task, completed=arm.max_steps, note="done")
        progress.stop_task(task)
        return
    if slot["queue"][0].name != "train":
        progress.update(task, completed=arm.max_steps, note="measuring on held-out problems")
        return
    line = last_log_line(arm.folder / "log.jsonl")
    if line is not None and "attnpo/accuracy" in line:
        note = f"{line['attnpo/accuracy']:.0%} correct, {line['attnpo/response_length']:.0f} tokens"
        progress.update(task, completed=line["step"], note=note)


def last_log_line(path: Path) -> dict[str, Any] | None:
    """Return the last whole line of a run's log, None before there is one."""
    if not path.exists():
        return None
    lines = [line for line in path.read_text(encoding="utf-8").splitlines(keepends=True) if line.endswith("\n")]
    return json.loads(lines[-1]) if lines else None


@contextmanager
def _killed_on_exit(arms: Sequence[Arm]) -> Iterator[None]:
    try:
        yield
    finally:
        for arm in arms:
            if arm.process is not None and arm.process.poll() is None:
                arm.process.terminate()
                arm.process.wait()
