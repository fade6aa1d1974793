"""Rows of local data files, and columns in them, nested ones included."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pyarrow
import pyarrow.parquet

from attnpo.errors import DataError
from attnpo.files import ENCODING, UserFile, parse_json

LOCAL_SUFFIXES = (".jsonl", ".json", ".parquet", ".csv")


def is_local(spec: str) -> bool:
    """Return whether a data set spec names a local file, or a folder that exists."""
    return Path(spec).suffix in LOCAL_SUFFIXES or Path(spec).is_dir()


def data_files(path: str | Path) -> list[Path]:
    """Return the file itself, or a folder's data files in order of their names.

    Raises:
        DataError: there is no such file, or the folder holds no data file.
    """
    path = Path(path)
    if path.is_dir():
        files = sorted(file for file in path.iterdir() if file.suffix in LOCAL_SUFFIXES)
        if not files:
            raise DataError(f"{path}: the folder holds no {', '.join(LOCAL_SUFFIXES)} file")
        return files
    UserFile(path).check()
    if path.suffix not in LOCAL_SUFFIXES:
        raise DataError(f"{path}: expected a {', '.join(LOCAL_SUFFIXES)} file")
    return [path]


def read_rows(path: str | Path) -> Iterator[dict[str, Any]]:
    """Yield the rows of a data file, or of all data files of a folder; JSON Lines, Parquet and CSV are streamed.

    Raises:
        DataError: there is no such file, or it is not in the format that its suffix says.
    """
    for file in data_files(path):
        try:
            yield from _READERS[file.suffix](file)
        except (pyarrow.ArrowException, UnicodeDecodeError, csv.Error) as error:
            raise DataError(f"{file}: not a readable {file.suffix[1:]} file ({error})") from error


def has_column(row: Mapping[str, Any], column: str) -> bool:
    """Return whether a row has a column; a dot reaches into a nested one."""
    if column in row:
        return True
    head, _, rest = column.partition(".")
    return bool(rest) and isinstance(row.get(head), Mapping) and has_column(row[head], rest)


def column_value(row: Mapping[str, Any], column: str) -> Any:
    """Return a column's value, None where the row lacks it; a dot reaches into a nested one."""
    if column in row:
        return row[column]
    head, _, rest = column.partition(".")
    return column_value(row[head], rest) if rest and isinstance(row.get(head), Mapping) else None


def column_names(row: Mapping[str, Any], prefix: str = "") -> list[str]:
    """Return the names of a row's columns, nested ones with dots."""
    names = []
    for name, value in row.items():
        nested = isinstance(value, Mapping)
        names += column_names(value, f"{prefix}{name}.") if nested else [f"{prefix}{name}"]
    return names


def _read_parquet(path: Path) -> Iterable[dict[str, Any]]:
    with pyarrow.parquet.ParquetFile(path) as file:
        for batch in file.iter_batches(batch_size=256):
            yield from batch.to_pylist()


def _read_csv(path: Path) -> Iterable[dict[str, Any]]:
    # The csv module keeps every cell as it stands: an answer of "025" stays "025". Its limit on a cell's length is
    # there for malformed files only.
    csv.field_size_limit(2**31 - 1)
    with path.open(encoding=ENCODING, newline="") as file:
        yield from csv.DictReader(file)


def _read_json(path: Path) -> Iterable[dict[str, Any]]:
    rows = UserFile(path).json()
    if not isinstance(rows, list):
        raise DataError(f"{path}: expected a list of rows, found {type(rows).__name__}")
    return (_object(row, f"{path}, row {number}") for number, row in enumerate(rows, start=1))


def _read_jsonl(path: Path) -> Iterable[dict[str, Any]]:
    for where, line in UserFile(path).lines():
        try:
            row = parse_json(line)
        except ValueError as error:
            raise DataError(f"{where}: not valid JSON ({error})") from error
        yield _object(row, where)


_READERS = {".parquet": _read_parquet, ".csv": _read_csv, ".json": _read_json, ".jsonl": _read_jsonl}


def _object(row: Any, where: str) -> dict[str, Any]:
    if not isinstance(row, dict):
        raise DataError(f"{where}: expected an object with columns, found {type(row).__name__}")
    return row
