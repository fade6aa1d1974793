"""The numbers of the comparison table."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from attnpo.errors import DataError
from attnpo.evaluation.comparison import (
    Bootstrap,
    ComparisonRow,
    MeasuredArm,
    compare,
    comparison_rows,
    draw_arms,
    problem_table,
    result_file,
)
from attnpo.evaluation.conditions import check_comparable, failure_caveats
from attnpo.evaluation.result import EvaluationResult
from attnpo.reporting.reproduction.costs import Costs, RunCost, mean_mass, pooled_costs

SHOWN = (
    "accuracy",
    "response_tokens",
    "redundant_steps",
    "essential_steps",
    "count:useful_checks",
    "count:slips_mended",
)
"""Metrics of the table, and of the paired differences; those that an evaluation lacks are left out."""
TOLERANCE = 0.1
"""A run ends with the step that spends its budget: further off than this share, it is told."""


@dataclass(frozen=True)
class CoursePoint:
    """A model on the way of a training run.

    Attributes:
        sampled: tokens that the run had sampled.
        folder: folder with its evaluation.
    """

    sampled: float
    folder: Path


@dataclass(frozen=True)
class TrainedRow:
    """One row's runs, as they lie on disk.

    Attributes:
        name: the row.
        group: what it is for (main, attnpo, ablation, control, bound, options).
        folders: seed → folder with its evaluation.
        costs: seed → what its training cost.
        about: what it is: method, paper, settings, what differs from the published ones.
        allow: evaluation settings that may differ from the base's, because the method needs its own.
        curve: the curve that it is a strength of; empty for none.
        strength: which one.
        control_of: the curve whose strengths it is held against; empty for none.
        course: seed → measured models on the way; empty where there are none.
    """

    name: str
    group: str
    folders: Mapping[int, Path]
    costs: Mapping[int, RunCost]
    about: Mapping[str, Any] = field(default_factory=dict)
    allow: Collection[str] = ()
    curve: str = ""
    strength: str = ""
    control_of: str = ""
    course: Mapping[int, tuple[CoursePoint, ...]] = field(default_factory=dict)


@dataclass(frozen=True)
class TableRow:
    """One row of the table.

    Attributes:
        name: the row.
        group: what it is for; `base` for the starting model.
        seeds: its training seeds.
        comparison: beside the base: values, differences, AES, by difficulty.
        costs: what training cost; None for the base.
        mass: share of the advantage that its credit took away and put on (`MASSES`), mean over the runs; empty where
            logs do not say.
        about: see `TrainedRow`.
        logs: what was logged, by seed.
        evaluation: the first run's evaluation.
    """

    name: str
    group: str
    seeds: tuple[int, ...]
    comparison: ComparisonRow
    costs: Costs | None
    evaluation: EvaluationResult
    about: Mapping[str, Any] = field(default_factory=dict)
    logs: tuple[tuple[dict[str, Any], ...], ...] = ()
    mass: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class MethodTable:
    """The comparison table.

    Attributes:
        rows: the starting model, then every row that has a finished run.
        against: reference row → the other trained rows beside it, paired problem by problem.
        missing: cells that are asked for and not finished, as ROW/SEED.
        caveats: what differs between the evaluations and was allowed to.
        level: coverage of the intervals.
        budget: tokens that each run was to sample; None where steps ended it.
    """

    rows: tuple[TableRow, ...]
    against: Mapping[str, tuple[ComparisonRow, ...]]
    missing: tuple[str, ...]
    caveats: tuple[str, ...]
    level: float
    budget: int | None = None

    @property
    def trained(self) -> tuple[TableRow, ...]:
        """The rows without the starting model."""
        return self.rows[1:]

    @property
    def differences(self) -> dict[str, tuple[ComparisonRow, ...]]:
        """Row → the trained rows beside it: the model at the start, then the references."""
        return {"base": tuple(row.comparison for row in self.trained), **self.against}

    def metrics(self) -> list[str]:
        """The metrics of `SHOWN` that some row holds."""
        return [name for name in SHOWN if any(row.comparison.values.get(name) is not None for row in self.rows)]


def method_table(
    base: Path,
    rows: Sequence[TrainedRow],
    references: Sequence[str] = (),
    missing: Sequence[str] = (),
    bootstrap: Bootstrap | None = None,
    budget: int | None = None,
) -> MethodTable:
    """Make the table.

    Args:
        base: evaluation folder of the starting model.
        rows: rows with at least one finished run each.
        references: rows that the others are held against, where they are there.
        missing: cells that are not finished, to be named.
        bootstrap: how intervals over problems and runs are made.
        budget: tokens that each run was to sample; runs that sampled others are told among the caveats.

    Raises:
        DataError: there is no row, an evaluation is missing or malformed, or they were not made alike.
    """
    bootstrap = bootstrap or Bootstrap()
    if not rows:
        raise DataError(f"{base.parent}: no finished cell, so there is nothing to put into a table")
    base_result = EvaluationResult.load(result_file(base))
    results = {
        row.name: {seed: EvaluationResult.load(result_file(folder)) for seed, folder in row.folders.items()}
        for row in rows
    }
    # A row whose method is measured under settings of its own is checked with those allowed, the others strictly.
    caveats: list[str] = []
    for row in rows:
        labelled = {"base": base_result, **{f"{row.name}/{seed}": found for seed, found in results[row.name].items()}}
        caveats += [*check_comparable(labelled, tuple(row.allow)), *failure_caveats(labelled)]
    caveats += [text for row in rows for text in _off_budget(row, budget)]
    arms = [MeasuredArm("base", (problem_table(base_result, result_file(base)),))]
    arms += [
        MeasuredArm(
            row.name,
            tuple(problem_table(results[row.name][seed], result_file(folder)) for seed, folder in row.folders.items()),
        )
        for row in rows
    ]
    settings: dict[str, Any] = {
        "level": bootstrap.level,
        "n_resamples": bootstrap.n_resamples,
        "seed": bootstrap.seed,
    }
    first, *others = compare(arms[0], arms[1:], **settings)
    made = [TableRow("base", "base", (), first, None, base_result)]
    for row, comparison in zip(rows, others, strict=True):
        made.append(
            TableRow(
                name=row.name,
                group=row.group,
                seeds=tuple(row.folders),
                comparison=comparison,
                costs=pooled_costs(list(row.costs.values())),
                mass=mean_mass(row.costs.values()),
                evaluation=next(iter(results[row.name].values())),
                about=row.about,
                logs=tuple(cost.log for cost in row.costs.values()),
            )
        )
    trained = {arm.name: arm for arm in arms[1:]}
    against = {name: _against(trained[name], arms[1:], bootstrap) for name in references if name in trained}
    said = tuple(dict.fromkeys(caveats))
    return MethodTable(tuple(made), against, tuple(missing), said, bootstrap.level, budget)


def _off_budget(row: TrainedRow, budget: int | None) -> list[str]:
    """Return one sentence a run whose sampled tokens are not those of the budget."""
    said = []
    for seed, cost in row.costs.items():
        if budget and cost.sampled_tokens is not None and abs(cost.sampled_tokens / budget - 1) > TOLERANCE:
            share = f"{100 * cost.sampled_tokens / budget:.0f} %"
            said.append(f"{row.name}/{seed} sampled {cost.sampled_tokens:,.0f} tokens, {share} of the budget.")
    return said


def _against(reference: MeasuredArm, arms: Sequence[MeasuredArm], bootstrap: Bootstrap) -> tuple[ComparisonRow, ...]:
    """Return the other arms beside one of them, on the same problems; without groups of problems."""
    draws = draw_arms([reference, *(arm for arm in arms if arm is not reference)], bootstrap, metrics=_held)
    return tuple(comparison_rows(draws, bootstrap.level)[1:])


def _held(arm: MeasuredArm) -> list[str]:
    held = arm.metrics()
    return [name for name in SHOWN if name in held]
