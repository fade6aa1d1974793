"""Arms of an experiment: the same world, model and budget, one way of assigning credit each.

Each arm is trained and then evaluated by commands of its own, which `attnpo.study.running` runs side by side.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from attnpo.documents import is_complete
from attnpo.rollouts import ANNOTATED_FILE
from attnpo.study.worlds import UNSEEN, World


def flags(settings: Mapping[str, Any]) -> list[str]:
    """Return settings as command-line flags; those by name within one are written as JSON."""
    return [part for name, value in settings.items() for part in (f"--{name}", _written(value))]


def _written(value: Any) -> str:
    return json.dumps(value) if isinstance(value, dict) else str(value)


def is_measured(folder: Path, annotated: bool) -> bool:
    """Whether a model was measured into a folder to the end, and its traces written where they are asked for."""
    return is_complete(folder / "evaluation.json") and (not annotated or (folder / ANNOTATED_FILE).is_file())


@dataclass(frozen=True)
class Command:
    """One `attnpo` command in a process of its own.

    Attributes:
        name: the command.
        settings: its settings.
        done: file that is there once it ran to its end.
    """

    name: str
    settings: dict[str, Any]
    done: Path

    @property
    def is_done(self) -> bool:
        """Whether it ran to its end; an evaluation whose engine went away writes what it has."""
        if self.name != "evaluate":
            return self.done.is_file()
        return is_measured(self.done.parent, annotated="heads" in self.settings)

    @property
    def on_cpu(self) -> bool:
        """Whether it leaves accelerators alone."""
        return self.settings.get("use_cpu") is True or self.settings.get("device") == "cpu"

    def arguments(self) -> list[str]:
        """Return the arguments of `attnpo`."""
        return [self.name, *flags(self.settings)]

    def argv(self) -> list[str]:
        """Return the command line."""
        return [sys.executable, "-m", "attnpo", *self.arguments()]


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
        return all(command.is_done for command in self.commands)


COURSE = 3
"""Models of a run that are kept on the way, at equal shares of its tokens."""


def course_folders(folder: Path) -> list[Path]:
    """Return where a run keeps its models on the way, the first one first."""
    return [folder / "course" / str(number) for number in range(1, COURSE + 1)]


def measuring(
    world: World,
    model: str | Path,
    name: str,
    folder: Path,
    *,
    num_eval: int,
    num_unseen: int = 0,
    settings: Mapping[str, Any] | None = None,
    annotated: Mapping[str, Any] | None = None,
) -> tuple[Command, ...]:
    """Return the commands that measure a model on held-out problems, then on templates never seen.

    Args:
        world: the world.
        model: the model.
        name: its name in tables.
        folder: where results go; those on templates never seen into `UNSEEN` in it.
        num_eval: held-out problems.
        num_unseen: problems of templates never seen, where the world has such.
        settings: further settings.
        annotated: settings of the first measurement alone.
    """
    asked: list[tuple[Path, Mapping[str, Any], int]] = [(folder, annotated or {}, num_eval)]
    if world.unseen and num_unseen:
        asked.append((folder / UNSEEN, world.unseen, num_unseen))
    return tuple(
        Command(
            "evaluate",
            {
                **world.evaluation,
                "model": model,
                "name": name,
                "num_problems": number,
                "output_dir": where,
                **own,
                **(settings or {}),
            },
            where / "evaluation.json",
        )
        for where, own, number in asked
    )


def training_arm(
    world: World,
    name: str,
    folder: Path,
    *,
    max_steps: int,
    seed: int,
    num_eval: int,
    heads: Path | None,
    num_unseen: int = 0,
    num_course: int = 0,
    annotate: int = 0,
    settings: Mapping[str, Any] | None = None,
    evaluation: Mapping[str, Any] | None = None,
    max_tokens: int | None = None,
    label: str = "",
    claim: Callable[[], None] | None = None,
) -> ArmRun:
    """Return an arm that trains a world's model and measures it on held-out problems.

    Args:
        world: the world.
        name: the arm's name; the method unless `settings` names another.
        folder: where its files go.
        max_steps: optimizer steps; a quarter of them is T of the schedule (Eq. 8).
        seed: seed of the training run.
        num_eval: held-out problems to measure on.
        heads: head set to train with and to annotate traces with.
        num_unseen: problems of templates never seen to measure on.
        num_course: held-out problems to measure models on the way on, `COURSE` of them; 0 keeps none.
        annotate: how many problems to annotate traces of.
        settings: further training settings.
        evaluation: further settings of the evaluation.
        max_tokens: tokens that training may sample, for the progress bar; None where steps end it.
        label: name in messages; `folder/name` if empty.
        claim: called before anything is run.
    """
    train = {
        "model": world.model,
        **world.training,
        "method": name,
        "output_dir": folder,
        "max_steps": max_steps,
        "schedule_steps": max_steps // 4,
        "seed": seed,
        "problems_seed": seed,
        "resume_from_checkpoint": True,
        **({} if heads is None else {"heads": heads}),
        **({"keep_models": COURSE} if num_course else {}),
        **(settings or {}),
    }
    measure = measuring(
        world,
        folder,
        name,
        folder,
        num_eval=num_eval,
        num_unseen=num_unseen,
        settings=evaluation,
        annotated={"heads": heads, "annotate_problems": annotate} if heads is not None and annotate else None,
    )
    course = [
        command
        for part in (course_folders(folder) if num_course else ())
        for command in measuring(world, part, name, part, num_eval=num_course, settings=evaluation)
    ]
    commands = (Command("train", train, folder / "trainer_state.json"), *measure, *course)
    label = label or f"{folder.parent.name}/{name}"
    return ArmRun(name, folder, commands, max_steps, max_tokens, label, claim)
