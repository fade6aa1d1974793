"""Checks of a data set before anything expensive happens."""

from __future__ import annotations

import logging
from typing import Any

from datasets import Dataset, Value

from attnpo.datasets import solution_text
from attnpo.errors import DataError

logger = logging.getLogger(__name__)


def check_training_data(dataset: Any, solution_column: str, name: str = "train_dataset") -> Any:
    """Check a data set of problems, and return it with its solutions as text.

    Args:
        dataset: what is given.
        solution_column: column of the reference answer.
        name: what to call it.

    Raises:
        DataError: there is no data set, it is empty, it lacks a column, or a solution is no one text.
    """
    if dataset is None:
        raise DataError(f"{name}: missing; give a data set with columns 'prompt' and the solution column")
    if hasattr(dataset, "__len__") and len(dataset) == 0:
        raise DataError(f"{name}: has no rows; check the file, split or filter it comes from")
    columns = dataset.column_names if dataset.column_names is not None else list(next(iter(dataset)))
    for column in ("prompt", solution_column):
        if column not in columns:
            raise DataError(
                f"{name}: no column '{column}' (it has: {', '.join(columns)}); rename one or set solution_column"
            )
    return with_text_solutions(dataset, solution_column, name)


def warn_of_text_prompts(dataset: Any, tokenizer: Any) -> None:
    """Say it where prompts are text and the tokenizer has a chat template, which TRL gives to messages only.

    Args:
        dataset: a checked data set; its first row is looked at.
        tokenizer: the model's.
    """
    if tokenizer.chat_template and isinstance(next(iter(dataset))["prompt"], str):
        logger.warning(
            "train_dataset: prompts are text and are read without the chat template; give messages "
            '([{"role": "user", "content": ...}]) as `attnpo train` does unless it is told --raw_prompts true'
        )


def with_text_solutions(dataset: Any, solution_column: str, name: str) -> Any:
    """Return a data set whose solutions are text (`attnpo.cells.cell_text`); one of text already is returned itself.

    Args:
        dataset: a `datasets.Dataset`, several by name, or None; of a stream, each solution becomes text in its turn.
        solution_column: column of the reference answer.
        name: what the data set is called in messages.

    Raises:
        DataError: a solution is empty, or no one text.
    """
    if dataset is None:
        return None
    if isinstance(dataset, dict):
        return {key: with_text_solutions(part, solution_column, f"{name} {key}") for key, part in dataset.items()}
    features = dataset.features
    if features is None or solution_column not in features:
        return dataset
    is_text = getattr(features[solution_column], "dtype", None) in ("string", "large_string")
    if is_text and not (isinstance(dataset, Dataset) and dataset.data.column(solution_column).null_count):
        return dataset
    features = features.copy()
    features[solution_column] = Value("string")

    def to_text(row: dict[str, Any], number: int) -> dict[str, str]:
        where = f"{name}, row {number + 1}"
        return {solution_column: solution_text(row[solution_column], solution_column, None, where)}

    return dataset.map(to_text, with_indices=True, features=features)
