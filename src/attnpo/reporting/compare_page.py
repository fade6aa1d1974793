"""The page of `attnpo compare`: arms beside a base arm, on every benchmark, in one file that loads nothing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from markupsafe import Markup

from attnpo.evaluation.comparison import ComparisonRow
from attnpo.evaluation.exports import comparison_csv, comparison_json, comparison_markdown
from attnpo.evaluation.suites import Comparison, Section
from attnpo.output import write_atomically
from attnpo.reporting.figures import save_frontier
from attnpo.reporting.frontier import frontier_points, frontier_svg
from attnpo.reporting.marks import ArmMark, arm_marks
from attnpo.reporting.measures import measure_panels
from attnpo.reporting.panels import Panel
from attnpo.reporting.result_tables import compared_cells, compared_row
from attnpo.reporting.run_folder import Arm
from attnpo.reporting.skeleton import environment, write_page
from attnpo.reporting.wording import direction, percent, plural
from attnpo.statistics import Interval
from attnpo.tables import Column, Row, Table, number_of


@dataclass(frozen=True)
class Block:
    """What is shown of one benchmark, or of the average."""

    id: str
    title: str
    lead: str
    frontier: Mapping[str, Markup]
    table: Table
    panels: tuple[Panel, ...]
    groups: Mapping[str, Table]


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


def write_comparison(comparison: Comparison, folder: Path, title: str, command: str = "") -> list[Path]:
    """Write tables, page and figure into a folder: `comparison.{md,csv,json,html}`, `frontier.{png,svg}`.

    Returns:
        The files.

    Raises:
        OutputError: a file cannot be written.
    """
    texts = {"md": comparison_markdown, "csv": comparison_csv, "json": comparison_json}
    files = [folder / f"comparison.{suffix}" for suffix in texts]
    for file, write in zip(files, texts.values(), strict=True):
        write_atomically(file, write(comparison))
    files.append(write_compare_page(comparison, folder / "comparison.html", title, command))
    pictures = [folder / f"frontier.{suffix}" for suffix in ("png", "svg")]
    return [*files, *(save_frontier(comparison.results, picture) for picture in pictures)]


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
            marks=marks,
            caveats=comparison.caveats,
            level=f"{100 * comparison.level:g} %",
            command=command,
        )
    )


def _section(id_: str, section: Section, marks: Mapping[str, ArmMark]) -> Block:
    arms = [Arm(name, evaluation) for name, evaluation in section.results.items()]
    parts = {
        "difficulty": [row.by_difficulty for row in section.rows],
        "subject": [row.by_subject for row in section.rows],
    }
    groups = {kind: _groups(kind, section.rows, found, marks) for kind, found in parts.items() if found[0]}
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
    groups: Mapping[str, Table],
) -> Block:
    summaries: dict[str, tuple[Interval, Interval]] = {}
    for row in rows:
        tokens, accuracy = row.values["response_tokens"], row.values["accuracy"]
        if tokens is not None and accuracy is not None:
            summaries[row.name] = (tokens, accuracy)
    points = frontier_points(summaries, marks)
    frontier = {"wide": frontier_svg(points, 1120, 440), "narrow": frontier_svg(points, 380, 360)}
    return Block(id_, title, lead, frontier, _main(rows, marks), panels, groups)


def _main(rows: Sequence[ComparisonRow], marks: Mapping[str, ArmMark]) -> Table:
    heads = ["arm", "answered right", "points", "tokens", "tokens saved, %", "AES"]
    columns = [Column(head, note=f"against {marks[rows[0].name].title}" * (head == "points")) for head in heads]
    return Table(tuple(columns), tuple(map(compared_row, rows)))


def _groups(
    kind: str,
    rows: Sequence[ComparisonRow],
    parts: Sequence[Mapping[str, ComparisonRow]],
    marks: Mapping[str, ArmMark],
) -> Table:
    """Return a row a difficulty or subject: for each arm accuracy and tokens, beside the base also what changed."""
    notes = ("right", "points", "tokens", "saved, %")
    shown = [notes[::2], *(notes for _ in rows[1:])]
    columns = [
        Column(marks[row.name].title * (i == 0), row.name, note)
        for row, named in zip(rows, shown, strict=True)
        for i, note in enumerate(named)
    ]
    lines = []
    for name in parts[0]:
        first, *others = (compared_cells(part[name]) for part in parts)
        lines.append(Row(name, (*first[::2], *(cell for cells in others for cell in cells))))
    return Table((Column(kind), *columns), tuple(lines))


def _headline(comparison: Comparison, marks: Mapping[str, ArmMark]) -> str:
    """Return what became of accuracy and length in the best arm, by its efficiency score."""
    rows = comparison.rows
    where = f" on average over {len(comparison.sections)} benchmarks" if comparison.average else ""
    scored = [(row.efficiency.value, -i) for i, row in enumerate(rows) if row.efficiency is not None]
    best = rows[-max(scored)[1]] if scored else rows[1]
    points, saved = best.differences.get("accuracy"), best.response_tokens_saved
    change = number_of("accuracy", points, difference=True)
    accuracy = f"{change.html()[0]} points of accuracy" if change.measurable else "no measurable difference in accuracy"
    length = "no measurable difference in length"
    if saved is not None and direction(saved):
        length = f"{percent(abs(saved.value), 0)} {'fewer' if saved.value > 0 else 'more'} tokens"
    return f"{marks[best.name].title} against {marks[rows[0].name].title}: {accuracy}, {length}{where}."
