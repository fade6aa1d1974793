"""A comparison as Markdown, CSV and JSON."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import Any

from attnpo.evaluation.comparison import GROUP_METRICS, ComparisonRow, beside, beside_heads
from attnpo.evaluation.suites import Comparison
from attnpo.metrics import COUNT, METRICS, NUMBERED, split_name
from attnpo.statistics import Interval
from attnpo.tables import Table, Value, csv_text, number_of, numbers_of

MAIN = ("accuracy", "response_tokens", "steps", "essential_steps", "redundant_steps", "confused_phrases")
CSV_COLUMNS = (
    "benchmark",
    "group",
    "arm",
    "runs",
    "metric",
    "value",
    "low",
    "high",
    "difference",
    "difference_low",
    "difference_high",
)


def comparison_markdown(comparison: Comparison) -> str:
    """Return the comparison in Markdown: the average first, then every benchmark with pass@k, budgets and groups."""
    lines: list[str] = []
    if comparison.average:
        lines += [f"## Average over {len(comparison.sections)} benchmarks", "", *_tables(comparison.average)]
    for section in comparison.sections:
        problems, samples = section.num_problems, section.samples_per_problem
        lines += [f"## {section.title}", "", f"{problems:,} problems, {samples} responses each.", ""]
        lines += _tables(section.rows)
        for kind in ("difficulty", "subject"):
            lines += _group_table(kind, section.rows)
    coverage = f"{100 * comparison.level:g} %"
    lines.append(
        f"In brackets: {coverage} intervals by bootstrap over problems; where an arm has several runs, over runs as "
        "well, with Student's t of their degrees of freedom. Δ: arm − base on the same problems. "
        "AES: length saved + 3 × relative gain of accuracy, or − 5 × relative loss."
    )
    if comparison.caveats:
        lines += ["", "Caveats:", "", *(f"- {text}" for text in comparison.caveats)]
    return "\n".join(lines) + "\n"


def comparison_csv(comparison: Comparison) -> str:
    """Return the comparison as CSV in long form: one row a benchmark, arm and metric; shares as shares."""
    blocks = [(section.title, section.rows) for section in comparison.sections]
    if comparison.average:
        blocks.insert(0, ("average", comparison.average))
    lines: list[list[object]] = []
    for title, rows in blocks:
        for row in rows:
            lines += ([title, "", *cells] for cells in _csv_cells(row))
            for kind, groups in (("difficulty", row.by_difficulty), ("subject", row.by_subject)):
                for name, part in groups.items():
                    lines += ([title, f"{kind}={name}", *cells] for cells in _csv_cells(part))
    return csv_text(CSV_COLUMNS, lines)


def comparison_json(comparison: Comparison) -> str:
    """Return the comparison as JSON, all numbers with their intervals."""
    content = {
        "schema_version": 1,
        "level": comparison.level,
        "caveats": list(comparison.caveats),
        "average": {row.name: row_json(row) for row in comparison.average},
        "benchmarks": {
            section.title: {
                "num_problems": section.num_problems,
                "samples_per_problem": section.samples_per_problem,
                "arms": {row.name: row_json(row) for row in section.rows},
            }
            for section in comparison.sections
        },
    }
    return json.dumps(content, indent=2, ensure_ascii=False) + "\n"


def row_json(row: ComparisonRow) -> dict[str, Any]:
    """Return a comparison row as JSON values."""
    found: dict[str, Any] = {
        "runs": row.runs,
        "values": {metric: _json(interval) for metric, interval in row.values.items()},
        "differences": {metric: _json(interval) for metric, interval in row.differences.items()},
        "response_tokens_saved": _json(row.response_tokens_saved),
        "efficiency": _json(row.efficiency),
    }
    for name, groups in (("by_difficulty", row.by_difficulty), ("by_subject", row.by_subject)):
        if groups:
            found[name] = {group: row_json(part) for group, part in groups.items()}
    return found


def _json(interval: Interval | None) -> dict[str, float] | None:
    return None if interval is None else interval.model_dump()


def _csv_cells(row: ComparisonRow) -> Iterator[list[object]]:
    extra = {"response_tokens_saved": row.response_tokens_saved, "efficiency": row.efficiency}
    for metric, value in [*row.values.items(), *extra.items()]:
        if value is not None:
            yield [row.name, row.runs, metric, value, row.differences.get(metric)]


def _tables(rows: Sequence[ComparisonRow]) -> list[str]:
    shown = [m for m in MAIN if any(row.values.get(m) is not None for row in rows)]
    sums = ("response_tokens_saved", "efficiency")
    body = [
        [row.name, str(row.runs), *beside(row, shown), *(number_of(m, getattr(row, m)) for m in sums)] for row in rows
    ]
    tables = [Table.of("", ["arm", "runs", *beside_heads(shown), *(METRICS[m].column for m in sums)], body)]
    tables += [table for kind in NUMBERED if (table := _numbered_table(kind, rows)) is not None]
    counts = list(dict.fromkeys(m for row in rows for m in row.values if m.startswith(COUNT)))
    if counts:
        counted = [[row.name, *beside(row, counts)] for row in rows]
        tables.append(Table.of("", ["counted a response, or share", *beside_heads(counts)], counted))
    return [line for table in tables for line in (table.markdown(), "")]


def _numbered_table(kind: str, rows: Sequence[ComparisonRow]) -> Table | None:
    metrics = [m for m in rows[0].values if split_name(m)[0] == kind and "@" in m]
    body: list[list[Value]] = []
    for row in rows:
        body.append([row.name, *numbers_of(row.values, metrics)])
        if row.differences:
            body.append([f"{row.name}, Δ", *numbers_of(row.differences, metrics, difference=True)])
    heads = [NUMBERED[kind], *(f"{split_name(m)[1]:,}" for m in metrics)]
    return Table.of("", heads, body) if metrics else None


def _group_table(kind: str, rows: Sequence[ComparisonRow]) -> list[str]:
    groups = {row.name: row.by_difficulty if kind == "difficulty" else row.by_subject for row in rows}
    body = [
        [name, row.name, *beside(groups[row.name][name], GROUP_METRICS)]
        for name in groups[rows[0].name]
        for row in rows
    ]
    return [Table.of("", [kind, "arm", *beside_heads(GROUP_METRICS)], body).markdown(), ""] if body else []
