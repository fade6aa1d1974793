"""Checks of a training set before anything expensive happens."""

from __future__ import annotations

from typing import Any

from attnpo.errors import DataError


def check_training_data(dataset: Any, solution_column: str) -> None:
    """Check a training set.

    Raises:
        DataError: there is no data set, it is empty, or it lacks a column.
    """
    if dataset is None:
        raise DataError("train_dataset: missing; give a data set with columns 'prompt' and the solution column")
    if hasattr(dataset, "__len__") and len(dataset) == 0:
        raise DataError("train_dataset: has no rows; check the file, split or filter it comes from")
    columns = dataset.column_names if dataset.column_names is not None else list(next(iter(dataset)))
    for column in ("prompt", solution_column):
        if column not in columns:
            raise DataError(
                f"train_dataset: no column '{column}' (it has: {', '.join(columns)}); rename one or set solution_column"
            )
