"""Paired comparison of evaluated arms: differences with intervals over problems and, where repeated, training runs."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from attnpo.errors import DataError
from attnpo.evaluation.conditions import check_comparable
from attnpo.evaluation.efficiency import efficiency_score, saved_share
from attnpo.evaluation.metrics import LABEL_METRICS, group_order, metric_names, ratio_cells
from attnpo.evaluation.result import EvaluationResult
from attnpo.evaluation.run import tally_rollouts
from attnpo.evaluation.table import ProblemTable
from attnpo.metrics import metric_of
from attnpo.ranges import OpenShare, Resamples, Seed, check_settings
from attnpo.rollouts import ROLLOUTS_FILE
from attnpo.significance import estimate, estimate_difference
from attnpo.statistics import Floats, Interval, draws_interval, ratio_draws, two_level_draws
from attnpo.tables import Table, Value, number_of, numbers_of

GROUP_METRICS = ("accuracy", "response_tokens")
"""What is compared within a difficulty or a subject."""


@dataclass(frozen=True)
class MeasuredArm:
    """One arm: the sums of each problem in each of its runs (one run a training seed)."""

    name: str
    runs: tuple[ProblemTable, ...]

    @property
    def labelled(self) -> bool:
        """Whether the steps of all responses carry labels."""
        return all(run.labelled for run in self.runs)

    def metrics(self) -> list[str]:
        """The metrics that every run holds."""
        held = [set(metric_names(run)) for run in self.runs]
        return [name for name in metric_names(self.runs[0]) if all(name in names for names in held)]

    def only(self, problems: Collection[str]) -> MeasuredArm:
        """Return the arm on some of its problems."""
        wanted = set(problems)
        return MeasuredArm(
            self.name, tuple(run.select([i for i, p in enumerate(run.problem_id) if p in wanted]) for run in self.runs)
        )


@dataclass(frozen=True)
class Bootstrap:
    """How intervals are made: coverage, resamples and seed."""

    level: OpenShare = 0.95
    n_resamples: Resamples = 2000
    seed: Seed = 0

    def __post_init__(self) -> None:
        check_settings(self, {"n_resamples": "resamples"})


@dataclass(frozen=True)
class ComparisonRow:
    """One arm beside the base arm.

    Attributes:
        name: the arm.
        runs: how many runs it pools.
        values: metric → value with its interval (`attnpo.evaluation.metrics` names them); the label metrics are None
            where steps carry no labels.
        differences: arm − base of the metrics that both have, on the same problems; empty for the base itself.
        response_tokens_saved: 1 − tokens(arm) / tokens(base); None for the base itself.
        efficiency: the Accuracy–Efficiency Score against the base (AttnPO, section 6); None for the base itself, and
            where the base answers nothing right.
        by_difficulty: the same for accuracy and length on the problems of each difficulty.
        by_subject: the same for each subject.
    """

    name: str
    runs: int
    values: Mapping[str, Interval | None]
    differences: Mapping[str, Interval | None] = field(default_factory=dict)
    response_tokens_saved: Interval | None = None
    efficiency: Interval | None = None
    by_difficulty: Mapping[str, ComparisonRow] = field(default_factory=dict)
    by_subject: Mapping[str, ComparisonRow] = field(default_factory=dict)

    @property
    def accuracy_by_difficulty(self) -> dict[str, Interval]:
        """Accuracy at each difficulty."""
        found = {name: row.values["accuracy"] for name, row in self.by_difficulty.items()}
        return {name: interval for name, interval in found.items() if interval is not None}


@dataclass(frozen=True)
class ArmDraws:
    """An arm's metrics on the data and on the resamples.

    Attributes:
        name: the arm.
        runs: how many runs it pools.
        metrics: M names.
        draws: (1 + R, M) on resamples of problems; where an arm of the comparison has several runs, (1 + 2R, M) on
            resamples of problems and on resamples of runs (`attnpo.statistics.two_level_draws`).
        two_levels: which of these.
    """

    name: str
    runs: int
    metrics: tuple[str, ...]
    draws: Floats
    two_levels: bool = False

    def __getitem__(self, metric: str) -> Floats:
        return self.draws[:, self.metrics.index(metric)]

    @property
    def df(self) -> int:
        """Degrees of freedom of its runs; 1, which nothing hangs on, where there is one."""
        return max(1, self.runs - 1)


@dataclass(frozen=True)
class Difference:
    """First evaluation minus second.

    Attributes:
        accuracy: difference of accuracy (shares, not percent).
        tokens: difference of mean response length in tokens.
        paired: whether it was taken problem by problem; False where a file holds no sums of problems, and the bounds
            are the widest that the two intervals allow.
    """

    accuracy: Interval
    tokens: Interval
    paired: bool


def load_arm(name: str, folders: Sequence[Path]) -> MeasuredArm:
    """Read an arm from its evaluation folders (or files), one a run.

    Raises:
        DataError: a file is missing or malformed, or the runs were sampled differently.
    """
    if not folders:
        raise DataError(f"arm {name!r}: no folder to read; give at least one evaluation folder")
    results = {str(folder): EvaluationResult.load(result_file(folder)) for folder in folders}
    check_comparable(results)
    tables = [problem_table(result, result_file(Path(folder))) for folder, result in results.items()]
    return MeasuredArm(name, tuple(tables))


def result_file(path: Path) -> Path:
    """Return the `evaluation.json` that a folder, or the file itself, stands for."""
    return path / "evaluation.json" if path.is_dir() else path


def problem_table(result: EvaluationResult, path: Path) -> ProblemTable:
    """Return the sums of a result's problems, from the rollouts beside the file where it holds none (version 1).

    Raises:
        DataError: there are none either.
    """
    if result.problems is not None:
        return result.problems
    rollouts = path.with_name(ROLLOUTS_FILE)
    if not rollouts.is_file():
        raise DataError(f"{path}: holds no sums of problems and no rollouts.jsonl lies beside it; make it again")
    labelling = result.overall.redundant_steps is not None
    # Phrases are not counted again: which families they were counted with is not recorded.
    return tally_rollouts(rollouts, lambda text: {}, labelling=labelling).measured(()).table


def compare(base: MeasuredArm, others: Sequence[MeasuredArm], **bootstrap: float) -> list[ComparisonRow]:
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
    problems = base.runs[0].problem_id
    for arm in (base, *others):
        for number, run in enumerate(arm.runs, start=1):
            if run.problem_id != problems:
                raise DataError(
                    f"arm {arm.name!r}, run {number}: measured on other problems than {base.name!r}; "
                    "evaluate both on the same data set and limit"
                )
    settings = Bootstrap(**bootstrap)  # type: ignore[arg-type]
    rows = comparison_rows(draw_arms((base, *others), settings), settings.level)
    groups = {
        kind: _by_group(kind, (base, *others), settings) for kind in ("difficulty", "subject") if len(base.runs[0])
    }
    return [
        replace(row, by_difficulty=by_difficulty, by_subject=by_subject)
        for row, by_difficulty, by_subject in zip(rows, groups["difficulty"], groups["subject"], strict=True)
    ]


def compare_folders(
    base: Path, others: Mapping[str, Sequence[Path]], base_name: str = "base", **bootstrap: float
) -> list[ComparisonRow]:
    """Compare evaluation folders; see `compare`.

    Args:
        base: the base arm's folder.
        others: per arm its folders, one a run.
        base_name: how to name the base arm.
        bootstrap: `level`, `n_resamples` and `seed` of the intervals.

    Raises:
        DataError: a folder holds no evaluation, or was not measured under the same conditions.
    """
    folders = [base, *(folder for group in others.values() for folder in group)]
    check_comparable({str(folder): EvaluationResult.load(result_file(folder)) for folder in folders})
    return compare(load_arm(base_name, [base]), [load_arm(n, group) for n, group in others.items()], **bootstrap)


def difference(first: EvaluationResult, second: EvaluationResult) -> Difference | None:
    """Return how one evaluation differs from another; None where they were not made under the same conditions."""
    try:
        check_comparable({"first": first, "second": second})
    except DataError:
        return None
    if first.problems is None or second.problems is None:
        a, b = first.overall, second.overall
        return Difference(_widest(a.accuracy, b.accuracy), _widest(a.response_tokens, b.response_tokens), paired=False)
    if first.problems.problem_id != second.problems.problem_id:
        return None
    arms = (MeasuredArm("second", (second.problems,)), MeasuredArm("first", (first.problems,)))
    bootstrap = Bootstrap()
    draws = draw_arms(arms, bootstrap, metrics=lambda _: GROUP_METRICS)
    accuracy, tokens = (comparison_rows(draws, bootstrap.level)[1].differences[metric] for metric in GROUP_METRICS)
    return None if accuracy is None or tokens is None else Difference(accuracy, tokens, paired=True)


def on_common_problems(arms: Sequence[MeasuredArm]) -> list[MeasuredArm]:
    """Return the arms on the problems that all their runs share.

    Raises:
        DataError: there are none.
    """
    common = set.intersection(*(set(run.problem_id) for arm in arms for run in arm.runs))
    if not common:
        raise DataError(f"the arms {', '.join(arm.name for arm in arms)} share no problem; nothing can be compared")
    return [arm.only(common) for arm in arms]


def draw_arms(
    arms: Sequence[MeasuredArm],
    bootstrap: Bootstrap,
    *,
    block: int | None = None,
    metrics: Callable[[MeasuredArm], Sequence[str]] = MeasuredArm.metrics,
) -> list[ArmDraws]:
    """Return the arms' metrics on the resamples.

    Arms on the same problems see the same resamples of problems. Training runs of the base and of another arm are drawn
    independently, those of one arm alike on every benchmark.

    Args:
        arms: the arms, the base first.
        bootstrap: resamples and seed.
        block: number of the benchmark where there are several, whose problems are drawn independently.
        metrics: what to draw of an arm; all that every run holds if absent.
    """
    seed = bootstrap.seed if block is None else [bootstrap.seed, 3, block]
    two_levels = any(len(arm.runs) > 1 for arm in arms)
    found = []
    for number, arm in enumerate(arms):
        names = tuple(metrics(arm))
        cells = [ratio_cells(run, names) for run in arm.runs]
        if two_levels:
            draws = two_level_draws(cells, bootstrap.n_resamples, seed, [bootstrap.seed, 1 if number else 2])
        else:
            draws = ratio_draws(cells, bootstrap.n_resamples, seed)
        found.append(ArmDraws(arm.name, len(arm.runs), names, draws, two_levels))
    return found


def average_draws(blocks: Sequence[ArmDraws]) -> ArmDraws:
    """Return the plain mean of one arm's metrics over benchmarks, for the metrics that all of them have."""
    metrics = tuple(m for m in blocks[0].metrics if all(m in block.metrics for block in blocks))
    draws = np.mean([np.stack([block[m] for m in metrics], axis=1) for block in blocks], axis=0)
    return replace(blocks[0], metrics=metrics, draws=draws)


def comparison_rows(arms: Sequence[ArmDraws], level: float) -> list[ComparisonRow]:
    """Return a row for each arm; the first is the base."""
    return [_row(arm, arms[0] if arm is not arms[0] else None, level) for arm in arms]


def markdown_table(rows: Sequence[ComparisonRow]) -> str:
    """Return the comparison as a Markdown table; differences from the base in a column behind each value."""
    labelled = rows[0].values.get("redundant_steps") is not None
    metrics = ["accuracy", "response_tokens", *(("essential_steps", "redundant_steps") if labelled else ())]
    body = [[row.name, str(row.runs), *beside(row, metrics), number_of("efficiency", row.efficiency)] for row in rows]
    return Table.of("", ["arm", "runs", *beside_heads(metrics), "AES"], body).markdown() + "\n"


def beside(row: ComparisonRow, metrics: Sequence[str]) -> list[Value]:
    """Return each metric's value and, behind it, its difference from the base."""
    pairs = zip(numbers_of(row.values, metrics), numbers_of(row.differences, metrics, difference=True), strict=True)
    return [cell for pair in pairs for cell in pair]


def beside_heads(metrics: Sequence[str]) -> list[str]:
    """Return the heads of `beside`'s columns."""
    return [head for metric in metrics for head in (metric_of(metric).column, "Δ")]


def _widest(a: Interval, b: Interval) -> Interval:
    return Interval(value=a.value - b.value, low=a.low - b.high, high=a.high - b.low)


def _row(arm: ArmDraws, base: ArmDraws | None, level: float) -> ComparisonRow:
    values = {m: _interval(arm, arm[m], level) for m in arm.metrics}
    values |= {m: None for m in LABEL_METRICS if m not in arm.metrics}
    if base is None:
        return ComparisonRow(arm.name, arm.runs, values)
    tokens, base_tokens = arm["response_tokens"], base["response_tokens"]
    score = efficiency_score(base["accuracy"], base_tokens, arm["accuracy"], tokens)
    varying = min((each for each in (arm, base) if each.runs > 1), key=lambda each: each.runs, default=arm)
    return ComparisonRow(
        name=arm.name,
        runs=arm.runs,
        values=values,
        differences={m: _difference(arm, base, m, level) for m in arm.metrics if m in base.metrics},
        response_tokens_saved=_interval(varying, saved_share(base_tokens, tokens), level),
        efficiency=_interval(varying, score, level),
    )


def _interval(arm: ArmDraws, draws: Floats, level: float) -> Interval | None:
    """Return the interval of a statistic whose runs have the degrees of freedom of an arm's.

    A percentile interval of few runs would be far too narrow (`benchmarks/interval_coverage.py`).
    """
    if arm.runs == 1:
        return draws_interval(_of_problems(arm, draws), level)
    found = estimate(draws, arm.df)
    return None if found is None else found.interval(level)


def _difference(arm: ArmDraws, base: ArmDraws, metric: str, level: float) -> Interval | None:
    if arm.runs == base.runs == 1:
        return draws_interval(_of_problems(arm, arm[metric] - base[metric]), level)
    found = estimate_difference(arm[metric], base[metric], arm.df, base.df)
    return None if found is None else found.interval(level)


def _of_problems(arm: ArmDraws, draws: Floats) -> Floats:
    """Return the data and the resamples of problems, without those of runs."""
    return draws[: 1 + len(draws) // 2] if arm.two_levels else draws


def _by_group(kind: str, arms: Sequence[MeasuredArm], bootstrap: Bootstrap) -> list[dict[str, ComparisonRow]]:
    """Return for each arm its rows within each difficulty or subject, as the base's problems have them."""
    groups: list[str | None] = getattr(arms[0].runs[0], kind)
    found: list[dict[str, ComparisonRow]] = [{} for _ in arms]
    for name in group_order(groups):
        problems = [p for p, group in zip(arms[0].runs[0].problem_id, groups, strict=True) if group == name]
        draws = draw_arms([arm.only(problems) for arm in arms], bootstrap, metrics=lambda _: GROUP_METRICS)
        for rows, row in zip(found, comparison_rows(draws, bootstrap.level), strict=True):
            rows[name] = row
    return found
