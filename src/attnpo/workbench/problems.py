"""From settings to problems: the data set that they name, as a model is asked it."""

from __future__ import annotations

import logging
from collections.abc import Collection, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from attnpo.datasets import ProblemRow, load_problems
from attnpo.errors import ConfigError, nearest
from attnpo.files import UserFile
from attnpo.workbench.arguments import DataArguments

logger = logging.getLogger(__name__)

WORLDS = {"tinyworld": ("train", "heldout"), "gsmworld": ("train", "heldout", "unseen")}
"""Rooms whose problems `--data` names, and their splits."""


def data_source(name: str | None, usual: str, split: str | None = None) -> str:
    """Return the data set spec that a `--data` value stands for.

    Args:
        name: the value.
        usual: split of a room's problems unless one is asked for, train or heldout.
        split: the one that is asked for.

    Raises:
        ConfigError: no data set was named, or a room has no such split.
    """
    if not name:
        raise ConfigError("--data: name a data file, Hub id or module:function")
    if not _is_room(name):
        return name
    if split is not None and split not in WORLDS[name]:
        raise ConfigError(f"--split {split}: --data {name} has {', '.join(WORLDS[name])}{nearest(split, WORLDS[name])}")
    return f"attnpo.{name}:{split or usual}_dataset"


def _is_room(name: str | None) -> bool:
    return name in WORLDS and not Path(name).exists()


def load_data(
    arguments: DataArguments,
    solution_column: str,
    split: str,
    default_limit: int | None = None,
    keep: Collection[str] = (),
) -> list[ProblemRow]:
    """Load the problems that the settings name; `keep` as in `load_problems`.

    Raises:
        DataError: the data set is missing, empty or malformed.
    """
    left_out: list[str] | None = [] if arguments.skip_bad_rows else None
    problems = load_problems(
        data_source(arguments.data, split, arguments.split),
        limit=default_limit if arguments.num_problems is None else arguments.num_problems,
        prompt_column=arguments.prompt_column,
        solution_column=solution_column,
        id_column=arguments.id_column,
        difficulty_column=arguments.difficulty_column,
        subject_column=arguments.subject_column,
        prompt_template=_template_text(arguments.prompt_template),
        solution_after=arguments.solution_after,
        split=None if _is_room(arguments.data) else arguments.split,
        seed=arguments.problems_seed,
        left_out=left_out,
        keep=keep,
    )
    if left_out:
        logger.warning("%d rows left out; the first: %s", len(left_out), left_out[0])
    return problems


def asked_problems(problems: Sequence[ProblemRow], tokenizer: Any, raw: bool) -> tuple[list[ProblemRow], str | None]:
    """Return problems as a model is asked them, and what is to be said of that; None where no prompt is plain text.

    Args:
        problems: the problems.
        tokenizer: the model's; with a chat template it makes a chat model.
        raw: give it plain text as it stands.
    """
    if not any(isinstance(problem.prompt, str) for problem in problems):
        return list(problems), None
    if not tokenizer.chat_template:
        return list(problems), "prompts are read as plain text; the tokenizer has no chat template"
    if raw:
        return list(problems), "prompts are read as plain text, past the chat template (raw_prompts)"
    asked = [
        replace(problem, prompt=[{"role": "user", "content": problem.prompt}])
        if isinstance(problem.prompt, str)
        else problem
        for problem in problems
    ]
    return asked, "prompts of plain text are asked as the user's message (raw_prompts true: as they stand)"


def _template_text(value: str | None) -> str | None:
    """Return a prompt template given as it stands, or as the path of a .jinja file."""
    if value is None or not value.endswith((".jinja", ".jinja2", ".j2")):
        return value
    return UserFile(Path(value), "template file", ConfigError, f"--prompt_template {value}").text()
