"""Paired comparison of evaluated arms: differences with intervals over problems and, where repeated, training runs."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from attnpo.errors import DataError
from attnpo.evaluation.metrics import LABEL_METRICS, METRICS, MeasuredResponse, difficulty_order, measure
from attnpo.rollouts import read_rollouts
from attnpo.statistics import Floats, Interval, cluster_sums, difference_interval, runs_interval

COMPARED = ("accuracy", "response_tokens", "steps", *LABEL_METRICS)


@dataclass(frozen=True)
class ArmResponses:
    """One arm: the measured responses of each of its runs (one run a training seed)."""

    name: str
    runs: tuple[tuple[MeasuredResponse, ...], ...]

    @property
    def labelled(self) -> bool:
        """Whether the steps of all responses carry labels."""
        return all(m.labelled for run in self.runs for m in run)


@dataclass(frozen=True)
class ComparisonRow:
    """One arm beside the base arm.

    Attributes:
        name: the arm.
        runs: how many runs it pools.
        values: each metric of `COMPARED` with its interval; None where steps carry no labels.
        differences: arm − base of the same metrics, on the same problems; empty for the base itself.
        response_tokens_saved: 1 − tokens(arm) / tokens(base); None for the base itself.
        accuracy_by_difficulty: accuracy at each difficulty.
    """

    name: str
    runs: int
    values: Mapping[str, Interval | None]
    differences: Mapping[str, Interval | None] = field(default_factory=dict)
    response_tokens_saved: Interval | None = None
    accuracy_by_difficulty: Mapping[str, Interval] = field(default_factory=dict)


def load_arm(name: str, folders: Sequence[Path]) -> ArmResponses:
    """Read the `rollouts.jsonl` of an arm's evaluation folders, one folder a run.

    Raises:
        DataError: a file is missing or malformed, or the runs were sampled differently.
    """
    if not folders:
        raise DataError(f"arm {name!r}: no folder to read; give at least one evaluation folder")
    check_comparable(folders)
    runs = tuple(
        tuple(measure(rollout, lambda text: {}) for rollout in read_rollouts(folder / "rollouts.jsonl"))
        for folder in folders
    )
    return ArmResponses(name, runs)


def compare(base: ArmResponses, others: Sequence[ArmResponses], **bootstrap: Any) -> list[ComparisonRow]:
    """Compare arms with a base arm on the same problems.

    Args:
        base: what the others are compared with.
        others: the other arms.
        bootstrap: `level`, `n_resamples` and `seed` of the intervals.

    Returns:
        A row for the base and one for each other arm.

    Raises:
        DataError: the arms were not measured on the same problems.
    """
    problems = sorted({m.problem_id for m in base.runs[0]})
    for arm in (base, *others):
        for number, run in enumerate(arm.runs, start=1):
            if {m.problem_id for m in run} != set(problems):
                raise DataError(
                    f"arm {arm.name!r}, run {number}: measured on other problems than {base.name!r}; "
                    "evaluate both on the same data set and limit"
                )
    return [_row(arm, base if arm is not base else None, problems, bootstrap) for arm in (base, *others)]


def compare_folders(
    base: Path, others: Mapping[str, Sequence[Path]], base_name: str = "base", **bootstrap: Any
) -> list[ComparisonRow]:
    """Compare evaluation folders; see `compare`.

    Args:
        base: the base arm's folder.
        others: per arm its folders, one a run.
        base_name: how to name the base arm.
        bootstrap: `level`, `n_resamples` and `seed` of the intervals.

    Raises:
        DataError: a folder lacks rollouts, or was not measured under the same conditions.
    """
    check_comparable([base, *(folder for folders in others.values() for folder in folders)])
    arms = [load_arm(name, folders) for name, folders in others.items()]
    return compare(load_arm(base_name, [base]), arms, **bootstrap)


def check_comparable(folders: Sequence[Path]) -> None:
    """Check that evaluations used the same problems, number of samples and sampling (seeds may differ).

    Raises:
        DataError: they did not; the message names the setting.
    """
    first = _conditions(folders[0])
    for folder in folders[1:]:
        conditions = _conditions(folder)
        for name in sorted(set(first) & set(conditions)):
            if first[name] != conditions[name]:
                raise DataError(
                    f"{folder}: not comparable with {folders[0]}: {name} is {conditions[name]!r} here and "
                    f"{first[name]!r} there; evaluate both alike"
                )


def markdown_table(rows: Sequence[ComparisonRow]) -> str:
    """Return the comparison as a Markdown table; differences from the base in brackets after each value."""
    labelled = rows[0].values.get("redundant_steps") is not None
    columns = [
        ("accuracy, %", "accuracy", 100.0, 1),
        ("tokens", "response_tokens", 1.0, 1),
        *(
            (("essential steps", "essential_steps", 1.0, 2), ("redundant steps", "redundant_steps", 1.0, 2))
            if labelled
            else ()
        ),
    ]
    header = ["arm", "runs", *(f"{title} | Δ" for title, *_ in columns)]
    lines = ["| " + " | ".join(header) + " |", "|" + "---|" * (2 + 2 * len(columns))]
    for row in rows:
        cells = [row.name, str(row.runs)]
        for _, metric, scale, digits in columns:
            value, difference = row.values.get(metric), row.differences.get(metric)
            cells.append("–" if value is None else value.format(digits, scale))
            cells.append("–" if difference is None else difference.format(digits, scale))
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def _row(
    arm: ArmResponses, base: ArmResponses | None, problems: Sequence[str], bootstrap: Mapping[str, Any]
) -> ComparisonRow:
    metrics = [metric for metric in COMPARED if metric not in LABEL_METRICS or arm.labelled]
    sums = {metric: _sums(arm, metric, problems) for metric in metrics}
    differences: dict[str, Interval | None] = {}
    saved = None
    if base is not None:
        for metric in metrics:
            if metric in LABEL_METRICS and not base.labelled:
                continue
            differences[metric] = difference_interval(_sums(base, metric, problems), sums[metric], **bootstrap)
        change = difference_interval(
            _sums(base, "response_tokens", problems), sums["response_tokens"], relative=True, **bootstrap
        )
        saved = Interval(value=-change.value, low=-change.high, high=-change.low)
    return ComparisonRow(
        name=arm.name,
        runs=len(arm.runs),
        values={m: runs_interval(sums[m], **bootstrap) if m in sums else None for m in COMPARED},
        differences=differences,
        response_tokens_saved=saved,
        accuracy_by_difficulty=_by_difficulty(arm, bootstrap),
    )


def _sums(arm: ArmResponses, metric: str, problems: Sequence[str]) -> list[Floats]:
    index = METRICS.index(metric)
    return [
        cluster_sums(
            np.array([m.numerators[index] for m in run]),
            np.array([m.denominators[index] for m in run]),
            [m.problem_id for m in run],
            problems,
        )
        for run in arm.runs
    ]


def _by_difficulty(arm: ArmResponses, bootstrap: Mapping[str, Any]) -> dict[str, Interval]:
    levels = {m.difficulty for m in arm.runs[0] if m.difficulty is not None}
    found = {}
    for level in sorted(levels, key=difficulty_order):
        runs = tuple(tuple(m for m in run if m.difficulty == level) for run in arm.runs)
        problems = sorted({m.problem_id for m in runs[0]})
        found[level] = runs_interval(_sums(ArmResponses(arm.name, runs), "accuracy", problems), **bootstrap)
    return found


def _conditions(folder: Path) -> dict[str, Any]:
    path = folder / "rollouts.settings.json"
    if not path.is_file():
        return {}
    settings = json.loads(path.read_text(encoding="utf-8"))
    conditions = {name: settings[name] for name in ("problems", "samples", "verifier", "strategy") if name in settings}
    sampling = {f"sampling.{name}": value for name, value in settings.get("sampling", {}).items() if name != "seed"}
    return {**conditions, **sampling}
