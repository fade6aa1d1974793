"""Comparison of whole runs: one data set or several benchmarks, arms with one or more runs."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from attnpo.errors import ConfigError, DataError
from attnpo.evaluation.comparison import (
    GROUP_METRICS,
    Bootstrap,
    ComparisonRow,
    MeasuredArm,
    average_draws,
    compare,
    comparison_rows,
    draw_arms,
    on_common_problems,
    problem_table,
    result_file,
)
from attnpo.evaluation.conditions import check_comparable, failure_caveats
from attnpo.evaluation.result import BudgetPoint, EvaluationResult, Summary
from attnpo.metrics import COUNT, NUMBERED
from attnpo.statistics import Interval

SINGLE = ""
"""Name of the only benchmark of a run that is one evaluation."""


@dataclass(frozen=True)
class MeasuredRun:
    """One model measured once: one evaluation, or one for each of several benchmarks.

    Attributes:
        path: the file or folder as it was named.
        results: benchmark → evaluation; `SINGLE` where there is one evaluation and no folder of benchmarks.
        files: benchmark → its file.
    """

    path: Path
    results: Mapping[str, EvaluationResult]
    files: Mapping[str, Path]

    @property
    def name(self) -> str:
        """The run's name."""
        return next(iter(self.results.values())).name


@dataclass(frozen=True)
class Section:
    """The comparison on one benchmark; `results` holds one evaluation an arm, its runs pooled."""

    title: str
    num_problems: int
    samples_per_problem: int
    rows: tuple[ComparisonRow, ...]
    results: Mapping[str, EvaluationResult]


@dataclass(frozen=True)
class Comparison:
    """Arms beside a base arm.

    Attributes:
        sections: one a benchmark.
        average: rows of the plain mean over benchmarks; empty where there is one.
        caveats: sentences on what differs between the runs and was allowed to, and on what the numbers cannot say.
        level: coverage of the intervals.
    """

    sections: tuple[Section, ...]
    average: tuple[ComparisonRow, ...]
    caveats: tuple[str, ...]
    level: float

    @property
    def rows(self) -> tuple[ComparisonRow, ...]:
        """The rows that sum the comparison up: the average, or the only section's."""
        return self.average or self.sections[0].rows

    @property
    def results(self) -> dict[str, EvaluationResult]:
        """One evaluation an arm that sums the comparison up."""
        first = self.sections[0].results
        if not self.average:
            return dict(first)
        return {
            row.name: first[row.name].model_copy(update={"overall": summary_of(row, first[row.name].overall)})
            for row in self.average
        }


def load_run(path: Path) -> MeasuredRun:
    """Read one run: an `evaluation.json`, its folder, or a folder with one such folder a benchmark.

    Raises:
        DataError: there is no evaluation, or a file is malformed.
    """
    file = result_file(path)
    if file.is_file():
        return MeasuredRun(path, {SINGLE: EvaluationResult.load(file)}, {SINGLE: file})
    files = {found.parent.name: found for found in sorted(path.glob("*/evaluation.json"))} if path.is_dir() else {}
    if not files:
        raise DataError(f"{path}: no evaluation.json there; make one with `attnpo evaluate --output_dir {path}`")
    results = {name: EvaluationResult.load(found) for name, found in files.items()}
    if any(result.benchmark is None for result in results.values()):
        folders = " ".join(str(found.parent) for found in files.values())
        raise DataError(f"{path}: holds several runs, not several benchmarks of one; name them one by one: {folders}")
    return MeasuredRun(path, results, files)


def group_runs(runs: Sequence[MeasuredRun], named: Mapping[str, Sequence[MeasuredRun]]) -> dict[str, list[MeasuredRun]]:
    """Return the runs of each arm, the base arm first.

    Args:
        runs: runs that go by their own names, the base first; those of one name are runs (seeds) of one arm.
        named: further arms and their runs; the first is the base where `runs` is empty.

    Raises:
        ConfigError: a run is given twice, or there is nothing to compare.
    """
    arms: dict[str, list[MeasuredRun]] = {}
    for run in runs:
        arms.setdefault(run.name, []).append(run)
    for name, more in named.items():
        arms.setdefault(name, []).extend(more)
    files = [file.resolve() for group in arms.values() for run in group for file in run.files.values()]
    twice = next((file for file in files if files.count(file) > 1), None)
    if twice is not None:
        raise ConfigError(f"{twice}: given twice; a run counts once")
    if len(arms) < 2:
        said = f"all runs are called {next(iter(arms))!r} and would be pooled" if files else "no runs are given"
        raise ConfigError(f"nothing to compare: {said}; give a base and another run, or name arms with --runs ARM=DIR")
    return arms


def compare_runs(
    arms: Mapping[str, Sequence[MeasuredRun]], allow: Collection[str] = (), bootstrap: Bootstrap | None = None
) -> Comparison:
    """Compare arms with the first one, on every benchmark they share and on average.

    Args:
        arms: arm → its runs; the base first.
        allow: settings that may differ (`check_comparable`); `problems` and `complete` leave the comparison to the
            problems that all runs share, `benchmarks` to the benchmarks.
        bootstrap: how intervals are made.

    Raises:
        DataError: the runs were not made under the same conditions.
        ConfigError: `allow` names a setting that no run has.
    """
    bootstrap = bootstrap or Bootstrap()
    benchmarks, caveats = _shared_benchmarks([run for runs in arms.values() for run in runs], allow)
    allow = [name for name in allow if name != "benchmarks"]
    sections, draws = [], []
    for block, benchmark in enumerate(benchmarks):
        results = {name: [run.results[benchmark] for run in runs] for name, runs in arms.items()}
        labelled = {str(run.path): run.results[benchmark] for runs in arms.values() for run in runs}
        found = [*check_comparable(labelled, allow), *failure_caveats(labelled)]
        measured = [
            MeasuredArm(name, tuple(problem_table(run.results[benchmark], run.files[benchmark]) for run in runs))
            for name, runs in arms.items()
        ]
        if any(run.problem_id != measured[0].runs[0].problem_id for arm in measured for run in arm.runs):
            measured = on_common_problems(measured)
            found.append(f"Compared on the {len(measured[0].runs[0]):,} problems that all runs share.")
        caveats += [f"{benchmark}: {text}" if benchmark != SINGLE else text for text in found]
        sections.append(_section(benchmark, results, measured, bootstrap))
        if len(benchmarks) > 1:
            draws.append(draw_arms(measured, bootstrap, block=block))
    average = []
    if draws:
        average = comparison_rows([average_draws(blocks) for blocks in zip(*draws, strict=True)], bootstrap.level)
    return Comparison(tuple(sections), tuple(average), tuple(dict.fromkeys(caveats)), bootstrap.level)


def average_row(
    results: Mapping[str, EvaluationResult], bootstrap: Bootstrap, metrics: Sequence[str] | None = None
) -> ComparisonRow:
    """Return the plain mean over the benchmarks of one run.

    Args:
        results: benchmark → evaluation, at least one; those without a table of problems are left out.
        bootstrap: how intervals are made.
        metrics: what to average; all that the tables hold if None.
    """
    names: Callable[[MeasuredArm], Sequence[str]] = MeasuredArm.metrics if metrics is None else lambda _: metrics
    draws = [
        draws
        for block, (name, result) in enumerate(results.items())
        if result.problems is not None
        for draws in draw_arms([MeasuredArm(name, (result.problems,))], bootstrap, block=block, metrics=names)
    ]
    return comparison_rows([replace(average_draws(draws), name="average")], bootstrap.level)[0]


def average_point(results: Mapping[str, EvaluationResult]) -> tuple[Interval, Interval]:
    """Return mean accuracy and mean response length over the benchmarks of one run, each benchmark counted once.

    Where a file holds no sums of problems the bounds are the means of the bounds, the widest there can be.
    """
    if all(result.problems is not None for result in results.values()):
        row = average_row(results, Bootstrap(), GROUP_METRICS)
        accuracy, tokens = (row.values[metric] for metric in GROUP_METRICS)
        if accuracy is not None and tokens is not None:
            return accuracy, tokens
    summaries = [result.overall for result in results.values()]
    return _mean([s.accuracy for s in summaries]), _mean([s.response_tokens for s in summaries])


def _mean(intervals: Sequence[Interval]) -> Interval:
    value, low, high = np.mean([(i.value, i.low, i.high) for i in intervals], axis=0).tolist()
    return Interval(value=value, low=low, high=high)


def pooled_result(results: Sequence[EvaluationResult], row: ComparisonRow) -> EvaluationResult:
    """Return one evaluation that stands for an arm: the first run's, its overall numbers those of all runs."""
    overall = summary_of(row, results[0].overall).model_copy(
        update={
            "num_responses": sum(result.overall.num_responses for result in results),
            "tails": results[0].overall.tails if len(results) == 1 else {},
        }
    )
    failures = sum(result.failures for result in results)
    return results[0].model_copy(update={"name": row.name, "overall": overall, "failures": failures})


def summary_of(row: ComparisonRow, like: Summary) -> Summary:
    """Return a summary with the values of a comparison row, without tails; counts are those of `like`."""
    counts = {name.removeprefix(COUNT): value for name, value in row.values.items() if name.startswith(COUNT)}
    plain = {name: value for name, value in row.values.items() if "@" not in name and not name.startswith(COUNT)}
    numbered = {
        name: {int(metric.partition("@")[2]): value for metric, value in row.values.items() if metric.startswith(name)}
        for name in (f"{kind}@" for kind in NUMBERED)
    }
    budgets = {
        budget: BudgetPoint(accuracy=accuracy, tokens=tokens)
        for budget, accuracy in numbered["accuracy@"].items()
        if accuracy is not None and (tokens := numbered["tokens@"][budget]) is not None
    }
    return like.model_copy(
        update={
            **plain,
            "tails": {},
            "pass_at_k": numbered["pass@"],
            "majority_at_k": numbered["majority@"] or None,
            "budgets": budgets,
            "counts": {name: value for name, value in counts.items() if value is not None},
        }
    )


def _shared_benchmarks(runs: Sequence[MeasuredRun], allow: Collection[str]) -> tuple[list[str], list[str]]:
    """Return the benchmarks that all runs have, and what there is to say of others."""
    if len({SINGLE in run.results for run in runs}) > 1:
        one = next(run for run in runs if SINGLE in run.results)
        several = next(run for run in runs if SINGLE not in run.results)
        raise DataError(
            f"{one.path} is one evaluation and {several.path} several benchmarks; name the folder of the benchmark: "
            f"{', '.join(str(file.parent) for file in several.files.values())}"
        )
    shared = [name for name in runs[0].results if all(name in run.results for run in runs)]
    missing = {run.path: sorted({n for r in runs for n in r.results} - set(run.results)) for run in runs}
    said = "; ".join(f"{path} lacks {', '.join(names)}" for path, names in missing.items() if names)
    if not said:
        return shared, []
    if "benchmarks" not in allow or not shared:
        raise DataError(
            f"the runs are not comparable: {said}; evaluate them on the same benchmarks, or compare what they share "
            "with --allow benchmarks"
        )
    return shared, [f"Compared on the benchmarks that all runs share: {said}."]


def _section(
    benchmark: str,
    results: Mapping[str, Sequence[EvaluationResult]],
    measured: Sequence[MeasuredArm],
    bootstrap: Bootstrap,
) -> Section:
    rows = compare(
        measured[0],
        measured[1:],
        level=bootstrap.level,
        n_resamples=bootstrap.n_resamples,
        seed=bootstrap.seed,
    )
    first = next(iter(results.values()))[0]
    return Section(
        title=benchmark or first.dataset,
        num_problems=len(measured[0].runs[0]),
        samples_per_problem=first.samples_per_problem,
        rows=tuple(rows),
        results={row.name: pooled_result(results[row.name], row) for row in rows},
    )
