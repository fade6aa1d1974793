"""Arms measured on several data sets: one frontier each, their mean, and one table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from attnpo.evaluation.result import EvaluationResult
from attnpo.evaluation.suites import average_point
from attnpo.reporting.frontier import frontier_points, frontier_svg
from attnpo.reporting.marks import ArmMark
from attnpo.reporting.measures import pair_table
from attnpo.reporting.panels import Panel
from attnpo.reporting.run_folder import Arm
from attnpo.reporting.wording import plural
from attnpo.statistics import Interval
from attnpo.tables import Row, Table, number_of


def benchmark_title(folder: str, evaluation: EvaluationResult) -> str:
    """Return what a data set is called: the benchmark's title or name, else the folder's name."""
    about = evaluation.benchmark or {}
    return str(about.get("title") or about.get("name") or folder)


def benchmark_names(arms: Sequence[Arm]) -> list[str]:
    """Return the data sets (folder names) that any arm was measured on."""
    return list(dict.fromkeys(name for arm in arms for name in arm.benchmarks))


def shared_names(arms: Sequence[Arm]) -> list[str]:
    """Return the data sets that all arms with any were measured on: those that a mean may be taken over."""
    measured = [arm for arm in arms if arm.benchmarks]
    return [name for name in benchmark_names(arms) if all(name in arm.benchmarks for arm in measured)]


def mean_point(arm: Arm, names: Sequence[str]) -> tuple[Interval, Interval] | None:
    """Return an arm's mean (accuracy, tokens) over data sets, each with the same weight; None where it lacks one."""
    found = {name: arm.benchmarks[name] for name in names if name in arm.benchmarks}
    return average_point(found) if found and len(found) == len(names) else None


def benchmark_panels(arms: Sequence[Arm], marks: Mapping[str, ArmMark]) -> list[Panel]:
    """Return one frontier a data set; the mean over those that all arms share comes first where there are several."""
    panels = []
    shared = shared_names(arms)
    if len(shared) > 1:
        means = {arm.name: point for arm in arms if (point := mean_point(arm, shared)) is not None}
        points = frontier_points({name: (tokens, accuracy) for name, (accuracy, tokens) in means.items()}, marks)
        panels.append(Panel("Mean", frontier_svg(points, 380, 330), f"over {plural(len(shared), 'data set')}"))
    for name in benchmark_names(arms):
        found = {arm.name: arm.benchmarks[name] for arm in arms if name in arm.benchmarks}
        overall = {arm: (e.overall.response_tokens, e.overall.accuracy) for arm, e in found.items()}
        first = next(iter(found.values()))
        drawing = frontier_svg(frontier_points(overall, marks), 380, 330)
        panels.append(Panel(benchmark_title(name, first), drawing, _note(first)))
    return panels


def benchmark_table(arms: Sequence[Arm], marks: Mapping[str, ArmMark]) -> Table:
    """Return accuracy and length on every data set, the mean over the shared ones last.

    Args:
        arms: arms that were measured on several data sets.
        marks: their marks.
    """
    names = benchmark_names(arms)
    parts = {arm.name: {name: e.overall for name, e in arm.benchmarks.items()} for arm in arms}
    table = pair_table("data set", parts, names, marks)
    firsts = {name: next(arm.benchmarks[name] for arm in arms if name in arm.benchmarks) for name in names}
    rows = [
        replace(row, head=benchmark_title(row.head, firsts[row.head]), note=_note(firsts[row.head]))
        for row in table.rows
    ]
    shared = shared_names(arms)
    if len(shared) > 1:
        points = [mean_point(arm, shared) or (None, None) for arm in arms]
        cells = (number_of(m, i) for p in points for m, i in zip(("accuracy", "response_tokens"), p, strict=True))
        rows.append(Row("Mean", tuple(cells), f"over {plural(len(shared), 'data set')}, each with the same weight"))
    return replace(table, rows=tuple(rows))


def _note(evaluation: EvaluationResult) -> str:
    n = plural(evaluation.num_problems, "problem")
    return f"{n} × {evaluation.samples_per_problem}" if evaluation.samples_per_problem > 1 else n
