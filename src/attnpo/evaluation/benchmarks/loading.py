"""Loading a benchmark's problems: from the Hub at its revision, or from what stands in for it."""

from __future__ import annotations

import hashlib
import logging
import random
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sized
from itertools import chain
from pathlib import Path
from typing import Any

from rich.progress import Progress

from attnpo.about import installed_version
from attnpo.datasets import FUNCTION_SPEC, ProblemRow, Problems, call_source, choose_problems
from attnpo.errors import ConfigError, DataError
from attnpo.evaluation.benchmarks.entry import Benchmark, ColumnMap, Sample
from attnpo.evaluation.benchmarks.reading import RowReader
from attnpo.hub import load_hub, resolve_revision
from attnpo.progress import bar
from attnpo.rows import LOCAL_SUFFIXES, column_names, column_value, data_files, has_column, read_rows

log = logging.getLogger(__name__)


def load(
    entry: Benchmark,
    *,
    data: str | None,
    limit: int | None,
    seed: int | None,
    columns: Mapping[str, str],
    progress: Progress | None,
) -> list[ProblemRow]:
    """Load a benchmark's problems; arguments and errors as in `Benchmark.problems`."""
    if limit is not None and limit < 1:
        raise DataError(f"benchmark {entry.name}: a limit of {limit} leaves no problem; give at least 1")
    drawn = entry.seed if seed is None else seed
    source = data or entry.dataset
    rows = _open(entry, data, limit, drawn)
    iterator = iter(rows)
    first = next(iterator, None)
    if first is None:
        raise DataError(f"{source}: the data set has no rows; give one with at least one problem")
    reader = RowReader(entry, _roles(entry, source, first, columns, data is not None), drawn)
    # Whoever wants the first few need not wait for the rest.
    enough = limit if seed is None and entry.sample is None else None
    problems = Problems(source)
    # How many rows a file has is not known before it is read, so its problems are counted.
    count_rows = enough is None and isinstance(rows, Sized)
    total = len(rows) if isinstance(rows, Sized) else entry.num_problems
    with bar(progress, f"reading {entry.name}", enough or total) as advance:
        for number, row in enumerate(chain([first], iterator), start=1):
            found_before = len(problems)
            if count_rows:
                advance()
            if not _wanted(row, entry.where, data is not None):
                continue
            where = f"{source}, row {number}"
            fields = reader.read(row, where)
            if fields["problem_id"] is None:
                fields["problem_id"] = _content_id(fields["prompt"], fields["solution"])
            problems.add(where, **fields)
            if not count_rows:
                advance(len(problems) - found_before)
            if len(problems) == enough:
                return problems.found
    found = problems.found if entry.sample is None else _draw(problems.found, entry.sample, drawn)
    _check_count(entry, len(found), data, limit)
    return choose_problems(source, found, limit, seed)


def source_of(entry: Benchmark, data: str | None) -> tuple[str, str | None]:
    """Return name and revision of what the problems come from; arguments and errors as in `Benchmark.context`."""
    if data or Path(entry.dataset).suffix in LOCAL_SUFFIXES:
        path = Path(data or entry.dataset)
        digest = hashlib.sha256()
        for file in data_files(path):
            with file.open("rb") as stream:
                while block := stream.read(2**20):
                    digest.update(block)
        return path.name, f"sha256:{digest.hexdigest()}"
    if FUNCTION_SPEC.fullmatch(entry.dataset):
        if not entry.package:
            return entry.dataset, None
        if (found := installed_version(entry.package)) is None:
            raise ConfigError(f"benchmark {entry.name}: the package {entry.package} is not installed")
        return entry.dataset, f"{entry.package} {found}"
    return entry.dataset, _revision(entry)


def _open(entry: Benchmark, data: str | None, limit: int | None, seed: int) -> Iterable[Mapping[str, Any]]:
    if data is not None:
        return read_rows(data)
    if Path(entry.dataset).suffix in LOCAL_SUFFIXES:
        return read_rows(entry.dataset)
    if FUNCTION_SPEC.fullmatch(entry.dataset):
        size = limit if entry.endless else None
        offered = {"split": entry.split, "seed": seed, "limit": size, "n": size, "size": size}
        rows = call_source(entry.dataset, offered, entry.params)
        if not isinstance(rows, Iterable):
            raise DataError(f"{entry.dataset}: returned {type(rows).__name__}; return rows, a datasets.Dataset say")
        return rows
    try:
        return load_hub(
            entry.dataset,
            config=entry.config,
            split=entry.split,
            revision=_revision(entry),
            files=entry.data_files,
        )
    except DataError as error:
        raise DataError(f"benchmark {entry.name}: {error}; or give a local copy with --data") from error


def _revision(entry: Benchmark) -> str:
    return entry.revision or resolve_revision(entry.dataset)


def _roles(
    entry: Benchmark, source: str, row: Mapping[str, Any], columns: Mapping[str, str], stands_in: bool
) -> ColumnMap:
    """Return the first column map that fits the rows."""
    try:
        entry.check_roles(columns)
    except ValueError as error:
        raise ConfigError(f"benchmark {entry.name}: {error}") from error
    maps: list[dict[str, Any]] = [{**entry.columns, **columns}]
    if stands_in and entry.data_schema:
        maps.append({**entry.data_schema, **columns})
    for roles in maps:
        # A data set at its revision has every column of its map; a file that stands in may lack the optional ones.
        needed = entry.needed_roles | set(columns) if stands_in else set(roles)
        if not _missing(row, roles, needed):
            return roles
    missing = _missing(row, maps[0], entry.needed_roles | set(columns) if stands_in else set(maps[0]))
    present = ", ".join(sorted(column_names(row)))
    asked = ", ".join(f"{column!r} ({role})" for role, column in missing)
    raise DataError(
        f"{source}: benchmark {entry.name} needs the column {asked}; the columns are {present}; "
        "name the right ones: --prompt_column, --solution_column …, or columns= in Python"
    )


def _missing(row: Mapping[str, Any], roles: ColumnMap, needed: Iterable[str]) -> list[tuple[str, str]]:
    absent = []
    for role in sorted(needed):
        columns = roles.get(role, role)
        for column in (columns,) if isinstance(columns, str) else columns:
            if not has_column(row, column):
                absent.append((role, column))
    return absent


def _wanted(row: Mapping[str, Any], where: Mapping[str, Any], stands_in: bool) -> bool:
    """Return whether a row belongs to the benchmark; a file that stands in may have been filtered before."""
    return all(
        (stands_in and not has_column(row, column)) or _equal(column_value(row, column), value)
        for column, value in where.items()
    )


def _equal(cell: Any, value: Any) -> bool:
    return bool(cell == value) or str(cell).lower() == str(value).lower()


def _content_id(prompt: Any, solution: str) -> str:
    return hashlib.sha256(f"{prompt}\n{solution}".encode()).hexdigest()[:16]


def _draw(problems: list[ProblemRow], sample: Sample, seed: int) -> list[ProblemRow]:
    """Draw the same number of problems from every group; a group's draw depends on no other group."""
    groups: dict[str, list[int]] = defaultdict(list)
    for number, problem in enumerate(problems):
        groups[str(getattr(problem, sample.per))].append(number)
    kept: list[int] = []
    for name, members in groups.items():
        kept += random.Random(f"{seed}/{name}").sample(members, min(sample.count, len(members)))
    return [problems[number] for number in sorted(kept)]


def _check_count(entry: Benchmark, found: int, data: str | None, limit: int | None) -> None:
    expected = limit if entry.endless and limit is not None else entry.num_problems
    if expected is None or found == expected:
        return
    message = f"benchmark {entry.name}: expected {expected} problems, {data or entry.dataset} has {found}"
    if data is None and (entry.revision is not None or FUNCTION_SPEC.fullmatch(entry.dataset)):
        raise DataError(f"{message}; the data set is not the one that the entry describes")
    log.warning("%s; its results are not those of the whole benchmark", message)
