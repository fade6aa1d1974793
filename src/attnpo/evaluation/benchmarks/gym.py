"""Problems of the `reasoning-gym` package: as many as are asked for, each with its generator's own scorer."""

from __future__ import annotations

import contextlib
import difflib
import io
import os
from collections.abc import Iterator
from typing import Any

from attnpo.errors import ConfigError, install_command, one_line

UNSTABLE_TASKS = frozenset(
    {"isomorphic_strings", "knight_swap", "polynomial_multiplication", "ransom_note", "word_ladder"}
)
"""Tasks of reasoning-gym 0.1.25 whose problems depend on Python's hash seed as well as on their own."""


def task_rows(task: str, size: int = 500, seed: int = 0, **config: Any) -> Iterator[dict[str, Any]]:
    """Yield problems of a task.

    Args:
        task: name of the task, `leg_counting` for example.
        size: number of problems.
        seed: seed of the problems.
        config: further settings of the task's generator.

    Yields:
        rows with `problem_id`, `question`, `solution` (task and entry as JSON, which the scorer needs) and `task`.

    Raises:
        ConfigError: the package is not installed, there is no such task, it refuses the settings, or its problems would
            be others in every process.
    """
    try:
        import reasoning_gym
        from reasoning_gym.factory import DATASETS

        from attnpo.verification.gym import encode_solution
    except ImportError as error:
        raise ConfigError(f"reasoning-gym is not installed; {install_command('reasoning-gym')}") from error
    if task not in DATASETS:
        near = difflib.get_close_matches(task, DATASETS, n=3, cutoff=0.4)
        hint = f"did you mean {' or '.join(near)}?" if near else f"there are {', '.join(sorted(DATASETS))}"
        raise ConfigError(f"reasoning-gym: there is no task {task!r}; {hint}")
    if task in UNSTABLE_TASKS and os.environ.get("PYTHONHASHSEED", "random") == "random":
        raise ConfigError(
            f"reasoning-gym: the problems of {task} also depend on Python's hash seed, so a run could not be continued "
            "or compared; set the environment variable PYTHONHASHSEED=0"
        )
    try:
        # Some generators print dots.
        with contextlib.redirect_stdout(io.StringIO()):
            dataset = reasoning_gym.create_dataset(task, size=size, seed=seed, **config)
            entries = [dataset[number] for number in range(size)]
    except (AssertionError, TypeError, ValueError) as error:
        reason = one_line(error)
        raise ConfigError(f"reasoning-gym: {task} refuses its settings ({reason}); mend the params") from error
    for number, entry in enumerate(entries):
        yield {
            "problem_id": f"{task}-{seed}-{number}",
            "question": entry["question"],
            "solution": encode_solution(task, config, entry),
            "task": task,
        }
