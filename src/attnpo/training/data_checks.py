"""Checks of a data set before anything expensive happens."""

from __future__ import annotations

from typing import Any

from attnpo.errors import DataError


def check_training_data(dataset: Any, solution_column: str, name: str = "train_dataset") -> None:
    """Check a data set of problems.

    Args:
        dataset: what is given.
        solution_column: column of the reference answer.
        name: what to call it.

    Raises:
        DataError: there is no data set, it is empty, or it lacks a column.
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
