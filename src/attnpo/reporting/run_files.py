"""Read the files of a run folder; one that is malformed is a DataError that names file, field and fix."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from attnpo.discovery.result import DiscoveryResult
from attnpo.errors import DataError
from attnpo.evaluation.result import EvaluationResult
from attnpo.evaluation.table import ProblemTable
from attnpo.files import UserFile, parse_json
from attnpo.rollouts import ROLLOUTS_FILE

TRAINING = "training.json"


@dataclass(frozen=True)
class Trained:
    """What `training.json` says of a run: its model, its method, its heads as (layer, head), none for other methods."""

    model: str
    method: str
    heads: frozenset[tuple[int, int]] = frozenset()


def read_json(path: Path) -> dict[str, Any]:
    """Read one JSON object from a file.

    Raises:
        DataError: the file cannot be read, is not JSON or not an object.
    """
    content = UserFile(path, hint="delete it and run its command again").json()
    if not isinstance(content, dict):
        raise DataError(f"{path}: expected a JSON object, found {type(content).__name__}")
    return content


def load_discovery(path: Path) -> DiscoveryResult:
    """Read a discovery whose maps and heads fit each other."""
    result = DiscoveryResult.load(path)
    if not (result.num_layers and result.num_heads):
        raise DataError(f"{path}: no layers or no heads; write it again with `attnpo discover`")
    for name in ("sra_select", "sra_report", "sra_report_low", "sra_report_high", "relative_attention"):
        grid = getattr(result, name)
        if not grid and name not in ("sra_select", "sra_report"):
            continue
        if len(grid) != result.num_layers or any(len(row) != result.num_heads for row in grid):
            raise DataError(
                f"{path}: field {name}: expected {result.num_layers} layers x {result.num_heads} heads; "
                "write it again with `attnpo discover`"
            )
    for layer, head in result.chosen:
        if not (0 <= layer < result.num_layers and 0 <= head < result.num_heads):
            raise DataError(
                f"{path}: field chosen: head ({layer}, {head}) does not exist in {result.num_layers} layers x "
                f"{result.num_heads} heads; write it again with `attnpo discover`"
            )
    return result


def load_benchmarks(folder: Path) -> dict[str, EvaluationResult]:
    """Return the evaluations in folders below an arm's, by folder name, where they are of several data sets.

    Folders below that hold one data set over and over are other runs, not benchmarks of this arm.
    """
    found = {path.parent.name: load_evaluation(path) for path in sorted(folder.glob("*/evaluation.json"))}
    if any(evaluation.benchmark is None for evaluation in found.values()):
        datasets = [evaluation.dataset for evaluation in found.values()]
        if len(datasets) < 2 or len(set(datasets)) < len(datasets):
            return {}
    return found


def load_evaluation(path: Path) -> EvaluationResult:
    """Read an evaluation; the sums of its problems come from `rollouts.jsonl` where it lacks them."""
    evaluation, rollouts = EvaluationResult.load(path), path.with_name(ROLLOUTS_FILE)
    if evaluation.problems is None and rollouts.is_file():
        return evaluation.model_copy(update={"problems": _read_sums(rollouts)})
    return evaluation


def read_trained(folder: Path) -> Trained | None:
    """Return what a folder's `training.json` says, None where there is none.

    Raises:
        DataError: the file is malformed.
    """
    path = folder / TRAINING
    if not path.is_file():
        return None
    record = read_json(path)
    try:
        heads = frozenset((int(layer), int(head)) for layer, head in (record.get("head_set") or {}).get("heads", ()))
        return Trained(str(record["model"] or ""), str(record["method"]), heads)
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise DataError(f"{path}: not what `attnpo train` writes ({error!r}); train again or take it away") from error


def read_log(folder: Path) -> tuple[dict[str, Any], ...]:
    """Return what training logged: the trainer's state of the end, else the file that grows, else the newest
    checkpoint's state; empty where there is none.

    Raises:
        DataError: the file is malformed.
    """
    state, lines = folder / "trainer_state.json", folder / "log.jsonl"
    if not state.is_file() and lines.is_file():
        return tuple(_log_rows(lines))
    if not state.is_file():
        found = sorted(folder.glob("checkpoint-*/trainer_state.json"), key=lambda path: path.stat().st_mtime)
        if not found:
            return ()
        state = found[-1]
    history = read_json(state).get("log_history")
    if not isinstance(history, list) or not all(isinstance(entry, dict) for entry in history):
        raise DataError(f"{state}: field log_history: expected a list of objects, as transformers' trainer writes it")
    return tuple(history)


def _log_rows(log: Path) -> list[dict[str, Any]]:
    """Return the rows of a log that may be growing: its last line counts once it has its end."""
    rows = []
    for where, line in UserFile(log, "training log").lines():
        if line.endswith("\n"):
            try:
                row = parse_json(line)
            except ValueError as error:
                raise DataError(f"{where}: not valid JSON ({error}); remove the row") from error
            if not isinstance(row, dict):
                raise DataError(f"{where}: expected a JSON object, found {type(row).__name__}; remove the row")
            rows.append(row)
    return rows


def _read_sums(path: Path) -> ProblemTable:
    """Return what a comparison is made from, of verified responses. Rows are read one by one: files can be large."""
    columns = ("responses", "correct", "response_tokens")
    sums: dict[str, list[int]] = defaultdict(lambda: [0] * len(columns))
    for where, line in UserFile(path, "rollouts file").lines():
        try:
            row = parse_json(line)
            problem, verdict, length = str(row["problem_id"]), row["correct"], len(row["response_ids"])
        except (ValueError, KeyError, TypeError) as error:
            raise DataError(f"{where}: not a rollout row ({error}); write it again with `attnpo evaluate`") from error
        if verdict is not None:
            sums[problem] = [a + b for a, b in zip(sums[problem], (1, int(verdict), length), strict=True)]
    names = sorted(sums)
    nothing: list[str | None] = [None] * len(names)
    values: dict[str, list[int | float]] = {c: [sums[name][i] for name in names] for i, c in enumerate(columns)}
    return ProblemTable(problem_id=names, difficulty=nothing, subject=nothing, labelled=False, columns=values)
