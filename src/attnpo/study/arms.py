"""Arms of an experiment on the small world: the same model and budget, one way of assigning credit each.

Each arm is trained and then evaluated by commands of its own, which `attnpo.study.running` runs side by side.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

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
    "counter": "attnpo.tinyworld:count_checks",
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


def flags(settings: Mapping[str, Any]) -> list[str]:
    """Return settings as command-line flags; those by name within one are written as JSON."""
    return [part for name, value in settings.items() for part in (f"--{name}", _written(value))]


def _written(value: Any) -> str:
    return json.dumps(value) if isinstance(value, dict) else str(value)


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


@dataclass(frozen=True)
class ArmRun:
    """One arm: train, then evaluate.

    Attributes:
        name: name in tables.
        folder: where its files go.
        commands: what is run, in order.
        max_steps: optimizer steps of its training, for the progress bar.
        max_tokens: tokens that its training may sample, for the progress bar; None where steps end it.
        label: name in the progress display and in messages.
        claim: called before the first command that is not done yet.
    """

    name: str
    folder: Path
    commands: tuple[Command, ...]
    max_steps: int = 0
    max_tokens: int | None = None
    label: str = ""
    claim: Callable[[], None] | None = None

    @property
    def done(self) -> bool:
        """Whether all its commands ran to their end."""
        return all(command.done.exists() for command in self.commands)


def training_arm(
    name: str,
    folder: Path,
    *,
    max_steps: int,
    seed: int,
    num_eval: int,
    heads: Path | None,
    annotate: int = 0,
    settings: Mapping[str, Any] | None = None,
    evaluation: Mapping[str, Any] | None = None,
    max_tokens: int | None = None,
    label: str = "",
    claim: Callable[[], None] | None = None,
) -> ArmRun:
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
        evaluation: further settings of the evaluation.
        max_tokens: tokens that training may sample, for the progress bar; None where steps end it.
        label: name in messages; `folder/name` if empty.
        claim: called before anything is run.
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
        **(evaluation or {}),
    }
    commands = (
        Command("train", train, folder / "trainer_state.json"),
        Command("evaluate", evaluate, folder / "evaluation.json"),
    )
    label = label or f"{folder.parent.name}/{name}"
    return ArmRun(name, folder, commands, max_steps, max_tokens, label, claim)
