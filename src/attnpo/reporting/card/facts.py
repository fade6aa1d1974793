"""What a card says, read from the run's folder; whatever is missing is None or empty, and the card says so."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from attnpo.discovery.evidence import StabilityResult
from attnpo.errors import DataError
from attnpo.evaluation import ComparisonRow, EvaluationResult, compare_folders
from attnpo.evaluation.comparison import result_file
from attnpo.reporting.benchmarks import benchmark_title
from attnpo.reporting.run_files import read_log
from attnpo.training.record import TrainingRecord

BASE = "base"
_BENCHMARK = re.compile(rb'"benchmark":\s*{')


@dataclass(frozen=True)
class BeforeAfter:
    """The model on one data set, beside the model that training started from where that was measured too.

    Attributes:
        title: the data set.
        after: the trained model.
        before: the model that training started from.
        difference: after − before on the same problems; None without `before`, or where they cannot be compared.
        why_not: why there is no difference.
    """

    title: str
    after: EvaluationResult
    before: EvaluationResult | None = None
    difference: ComparisonRow | None = None
    why_not: str = ""


@dataclass(frozen=True)
class CardFacts:
    """What a folder holds. `log` is what training logged, a row a log line."""

    folder: Path
    record: TrainingRecord
    measured: tuple[BeforeAfter, ...] = ()
    log: tuple[dict[str, Any], ...] = ()
    stability: StabilityResult | None = None


def read_facts(folder: Path, base: Path | None = None) -> CardFacts:
    """Read the folder of a run.

    Args:
        folder: `output_dir` of `attnpo train`.
        base: evaluation folder (or file) of the model that training started from; `base` in or beside the folder if
            absent.

    Raises:
        DataError: the folder holds no `training.json`, `base` holds no evaluation, or a file is malformed.
    """
    record = TrainingRecord.load(folder)
    before = evaluations(base) if base is not None else _found_base(folder)
    if base is not None and not before:
        raise DataError(f"{base}: no evaluation.json in it or a folder below; make it with `attnpo evaluate`")
    measured = sorted(evaluations(folder).items())
    stability = folder / "stability.json"
    return CardFacts(
        folder=folder,
        record=record,
        measured=tuple(_measured(path, before) for name, path in measured if name.split("/")[0] != BASE),
        log=read_log(folder),
        stability=StabilityResult.load(stability) if stability.is_file() else None,
    )


def evaluations(folder: Path) -> dict[str, Path]:
    """Return the evaluations of a folder, the file of each by name of the folder below (empty for the folder's own).

    Two folders below lie several benchmarks of one command (`--output_dir FOLDER/eval`). What lies below models on the
    way (`course`, `checkpoint-N`) is not the folder's.
    """
    own = result_file(folder)
    if own.is_file():
        return {"": own}
    found = {path.parent.relative_to(folder).as_posix(): path for path in sorted(folder.glob("*/evaluation.json"))}
    found |= {
        path.parent.relative_to(folder).as_posix(): path
        for path in sorted(folder.glob("*/*/evaluation.json"))
        if _BENCHMARK.search(path.read_bytes())
    }
    return {name: path for name, path in found.items() if not name.startswith(("course/", "checkpoint-"))}


def _found_base(folder: Path) -> dict[str, Path]:
    # Resolved: the parent of "." is not "..", but what the folder lies in.
    for place in (folder / BASE, folder.resolve().parent / BASE):
        if found := evaluations(place):
            return found
    return {}


def _measured(path: Path, base: dict[str, Path]) -> BeforeAfter:
    after = EvaluationResult.load(path)
    title = benchmark_title(after.dataset, after)
    others = {name: EvaluationResult.load(other) for name, other in base.items()}
    name = next((n for n, other in others.items() if _same_problems(other, after)), None)
    if name is None:
        return BeforeAfter(title, after)
    try:
        _, row = compare_folders(base[name], {"trained": [path]})
    except DataError as error:
        return BeforeAfter(title, after, others[name], why_not=str(error))
    return BeforeAfter(title, after, others[name], row)


def _same_problems(a: EvaluationResult, b: EvaluationResult) -> bool:
    return a.dataset == b.dataset and _benchmark(a) == _benchmark(b)


def _benchmark(result: EvaluationResult) -> object:
    about = result.benchmark or {}
    return about.get("name") or about.get("benchmark")
