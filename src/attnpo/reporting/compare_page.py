"""The page of `attnpo compare`: arms beside a base arm, on every benchmark, in one file that loads nothing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from markupsafe import Markup

from attnpo.evaluation.comparison import ComparisonRow
from attnpo.evaluation.suites import Comparison, Section
from attnpo.reporting.frontier import frontier_points, frontier_svg
from attnpo.reporting.marks import ArmMark, arm_marks
from attnpo.reporting.measures import measure_panels
from attnpo.reporting.panels import Panel
from attnpo.reporting.run_folder import Arm
from attnpo.reporting.skeleton import environment, write_page
from attnpo.reporting.wording import IntervalLike, bounds, count, direction, percent, plural, signed, signed_bounds
from attnpo.statistics import Interval

Delta = tuple[str, str, bool]
"""A difference, its interval, and whether it is measurable; empty words for none."""
Cell = tuple[str, str]
"""A value and its interval; empty words for none."""
NOTHING: Delta = ("", "", False)


@dataclass(frozen=True)
class ArmLine:
    """One arm of the main table: values, and what changed against the base."""

    mark: ArmMark
    runs: str
    accuracy: Cell
    points: Delta
    tokens: Cell
    saved: Delta
    efficiency: Delta


@dataclass(frozen=True)
class GroupLine:
    """One difficulty or subject: for each arm accuracy, points, tokens and tokens saved."""

    name: str
    cells: tuple[tuple[Cell, Delta, Cell, Delta], ...]


@dataclass(frozen=True)
class Block:
    """What is shown of one benchmark, or of the average."""

    id: str
    title: str
    lead: str
    frontier: Mapping[str, Markup]
    lines: tuple[ArmLine, ...]
    panels: tuple[Panel, ...]
    groups: Mapping[str, tuple[GroupLine, ...]]


def write_compare_page(comparison: Comparison, output: Path, title: str, command: str = "") -> Path:
    """Write the page of a comparison.

    Args:
        comparison: what `attnpo.evaluation.suites.compare_runs` found.
        output: the file to write.
        title: title of the page.
        command: the command that made it, shown at the end; empty for none.

    Raises:
        OutputError: the file cannot be written.
    """
    return write_page(render_compare_page(comparison, title, command), output)


def render_compare_page(comparison: Comparison, title: str, command: str = "") -> str:
    """Return the page of a comparison as HTML; see `write_compare_page`."""
    first = comparison.sections[0]
    marks = arm_marks([Arm(name, evaluation) for name, evaluation in first.results.items()])
    blocks = [_section(f"b{i}", section, marks) for i, section in enumerate(comparison.sections, start=1)]
    if comparison.average:
        lead = f"The plain mean over {len(blocks)} benchmarks, each counted once whatever its number of problems."
        blocks.insert(0, _block("average", "Average", lead, comparison.average, marks, (), {}))
    return (
        environment()
        .get_template("compare.html.jinja")
        .render(
            title=title,
            headline=_headline(comparison, marks),
            blocks=blocks,
            nav=[(block.id, block.title) for block in blocks],
            marks=list(marks.values()),
            caveats=comparison.caveats,
            level=f"{100 * comparison.level:g} %",
            command=command,
        )
    )


def _section(id_: str, section: Section, marks: Mapping[str, ArmMark]) -> Block:
    arms = [Arm(name, evaluation) for name, evaluation in section.results.items()]
    groups = {}
    for kind in ("difficulty", "subject"):
        lines = _group_lines(kind, section.rows)
        if lines:
            groups[kind] = lines
    responses = plural(section.samples_per_problem, "response")
    lead = f"{plural(section.num_problems, 'problem')}, {responses} to each."
    panels = tuple(measure_panels(arms, marks))
    return _block(id_, section.title, lead, section.rows, marks, panels, groups)


def _block(
    id_: str,
    title: str,
    lead: str,
    rows: Sequence[ComparisonRow],
    marks: Mapping[str, ArmMark],
    panels: tuple[Panel, ...],
    groups: Mapping[str, tuple[GroupLine, ...]],
) -> Block:
    summaries: dict[str, tuple[IntervalLike, IntervalLike]] = {}
    for row in rows:
        tokens, accuracy = row.values["response_tokens"], row.values["accuracy"]
        if tokens is not None and accuracy is not None:
            summaries[row.name] = (tokens, accuracy)
    points = frontier_points(summaries, marks)
    frontier = {"wide": frontier_svg(points, 1120, 440), "narrow": frontier_svg(points, 380, 360)}
    return Block(id_, title, lead, frontier, tuple(_line(row, marks[row.name]) for row in rows), panels, groups)


def _line(row: ComparisonRow, mark: ArmMark) -> ArmLine:
    score = row.efficiency
    return ArmLine(
        mark=mark,
        runs=plural(row.runs, "run") if row.runs > 1 else "",
        accuracy=_share(row.values["accuracy"]),
        points=_points(row.differences.get("accuracy")),
        tokens=_count(row.values["response_tokens"]),
        saved=_saved(row.response_tokens_saved),
        efficiency=NOTHING if score is None else _delta(score, f"{abs(score.value):.2f}", f"{_two(score)}"),
    )


def _group_lines(kind: str, rows: Sequence[ComparisonRow]) -> tuple[GroupLine, ...]:
    groups = [row.by_difficulty if kind == "difficulty" else row.by_subject for row in rows]
    return tuple(
        GroupLine(
            name,
            tuple(
                (
                    _share(part[name].values["accuracy"]),
                    _points(part[name].differences.get("accuracy")),
                    _count(part[name].values["response_tokens"]),
                    _saved(part[name].response_tokens_saved),
                )
                for part in groups
            ),
        )
        for name in groups[0]
    )


def _headline(comparison: Comparison, marks: Mapping[str, ArmMark]) -> str:
    """Return what became of accuracy and length in the best arm, by its efficiency score."""
    rows = comparison.rows
    where = f" on average over {len(comparison.sections)} benchmarks" if comparison.average else ""
    scored = [(row.efficiency.value, -i) for i, row in enumerate(rows) if row.efficiency is not None]
    best = rows[-max(scored)[1]] if scored else rows[1]
    points, saved = best.differences.get("accuracy"), best.response_tokens_saved
    accuracy = "no measurable difference in accuracy"
    if points is not None and direction(points):
        accuracy = f"{signed(f'{abs(100 * points.value):.1f}', points.value)} points of accuracy"
    length = "no measurable difference in length"
    if saved is not None and direction(saved):
        length = f"{percent(abs(saved.value), 0)} {'fewer' if saved.value > 0 else 'more'} tokens"
    return f"{marks[best.name].title} against {marks[rows[0].name].title}: {accuracy}, {length}{where}."


def _share(interval: Interval | None) -> Cell:
    return ("", "") if interval is None else (percent(interval.value), bounds(interval, True))


def _count(interval: Interval | None) -> Cell:
    return ("", "") if interval is None else (count(interval.value), bounds(interval))


def _points(interval: Interval | None) -> Delta:
    if interval is None:
        return NOTHING
    return _delta(interval, f"{abs(100 * interval.value):.1f}", signed_bounds(interval, 100))


def _saved(interval: Interval | None) -> Delta:
    if interval is None:
        return NOTHING
    return _delta(interval, percent(abs(interval.value)), signed_bounds(interval, 100))


def _delta(interval: Interval, magnitude: str, said: str) -> Delta:
    return signed(magnitude, interval.value), said, direction(interval) != 0


def _two(interval: Interval) -> str:
    low, high = interval.low, interval.high
    return f"{signed(f'{abs(low):.2f}', low)} to {signed(f'{abs(high):.2f}', high)}"
