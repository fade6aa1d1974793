"""A comparison as Markdown, CSV and JSON."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator, Sequence
from typing import Any

from attnpo.evaluation.comparison import ComparisonRow, written
from attnpo.evaluation.counting import COUNT
from attnpo.evaluation.metrics import NUMBERED, split_name
from attnpo.evaluation.suites import Comparison
from attnpo.statistics import Interval

PERCENT = ("accuracy", "truncated", "redundant_token_share", "pass", "majority")
"""Metrics that are shares; people read them in percent."""
TITLES = {
    "pass": "pass@k, %",
    "majority": "majority vote of k, %",
    "accuracy": "accuracy within a token budget, %",
    "tokens": "tokens spent within a budget",
}
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


def scale_of(metric: str) -> tuple[float, int]:
    """Return the factor and the decimals that a metric is written with."""
    if split_name(metric)[0] in PERCENT:
        return 100.0, 1
    if metric.startswith(COUNT):  # a mean a response or a share, which may both be small
        return 1.0, 3
    return 1.0, 1 if "tokens" in metric and "1k" not in metric else 2


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
        f"In brackets: {coverage} intervals by bootstrap over problems, and over runs where an arm has several. Δ: "
        "arm − base on the same problems. AES: length saved + 3 × relative gain of accuracy, or − 5 × relative loss."
    )
    if comparison.caveats:
        lines += ["", "Caveats:", "", *(f"- {text}" for text in comparison.caveats)]
    return "\n".join(lines) + "\n"


def comparison_csv(comparison: Comparison) -> str:
    """Return the comparison as CSV in long form: one row a benchmark, arm and metric; shares as shares."""
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(CSV_COLUMNS)
    blocks = [(section.title, section.rows) for section in comparison.sections]
    if comparison.average:
        blocks.insert(0, ("average", comparison.average))
    for title, rows in blocks:
        for row in rows:
            writer.writerows([title, "", *cells] for cells in _csv_cells(row))
            for kind, groups in (("difficulty", row.by_difficulty), ("subject", row.by_subject)):
                for name, part in groups.items():
                    writer.writerows([title, f"{kind}={name}", *cells] for cells in _csv_cells(part))
    return stream.getvalue()


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


def _csv_cells(row: ComparisonRow) -> Iterator[list[Any]]:
    extra = {"response_tokens_saved": row.response_tokens_saved, "efficiency": row.efficiency}
    for metric, value in [*row.values.items(), *extra.items()]:
        if value is None:
            continue
        difference = row.differences.get(metric)
        bounds = ["", "", ""] if difference is None else [difference.value, difference.low, difference.high]
        yield [row.name, row.runs, metric, value.value, value.low, value.high, *bounds]


def _tables(rows: Sequence[ComparisonRow]) -> list[str]:
    main = ("accuracy", "response_tokens", "steps", "essential_steps", "redundant_steps", "confused_phrases")
    shown = [m for m in main if any(row.values.get(m) is not None for row in rows)]
    titles = {"accuracy": "accuracy, %", "response_tokens": "tokens"}
    header = ["arm", "runs"]
    for metric in shown:
        header += [titles.get(metric, metric.replace("_", " ")), "Δ"]
    body = []
    for row in rows:
        cells = [row.name, str(row.runs)]
        for metric in shown:
            scale, digits = scale_of(metric)
            cells += [written(of.get(metric), digits, scale) for of in (row.values, row.differences)]
        body.append([*cells, written(row.response_tokens_saved, 1, 100), written(row.efficiency, 2)])
    lines = _table([*header, "tokens saved, %", "AES"], body)
    for kind in NUMBERED:
        lines += _numbered_table(kind, rows)
    return lines + _counts_table(rows)


def _counts_table(rows: Sequence[ComparisonRow]) -> list[str]:
    metrics = list(dict.fromkeys(m for row in rows for m in row.values if m.startswith(COUNT)))
    if not metrics:
        return []
    body = []
    for row in rows:
        cells = [row.name]
        for metric in metrics:
            scale, digits = scale_of(metric)
            cells += [written(of.get(metric), digits, scale) for of in (row.values, row.differences)]
        body.append(cells)
    header = ["counted a response, or share"]
    for metric in metrics:
        header += [metric.removeprefix(COUNT).replace("_", " "), "Δ"]
    return _table(header, body)


def _numbered_table(kind: str, rows: Sequence[ComparisonRow]) -> list[str]:
    metrics = [m for m in rows[0].values if split_name(m)[0] == kind and "@" in m]
    if not metrics:
        return []
    body = []
    for row in rows:
        body.append([row.name, *(written(row.values.get(m), scale_of(m)[1], scale_of(m)[0]) for m in metrics)])
        if row.differences:
            cells = (written(row.differences.get(m), scale_of(m)[1], scale_of(m)[0]) for m in metrics)
            body.append([f"{row.name}, Δ", *cells])
    return _table([TITLES[kind], *(f"{split_name(m)[1]:,}" for m in metrics)], body)


def _group_table(kind: str, rows: Sequence[ComparisonRow]) -> list[str]:
    groups = {row.name: row.by_difficulty if kind == "difficulty" else row.by_subject for row in rows}
    names = list(groups[rows[0].name])
    body = []
    for name in names:
        for row in rows:
            part = groups[row.name][name]
            cells = [name, row.name]
            for metric in ("accuracy", "response_tokens"):
                scale, digits = scale_of(metric)
                cells += [written(of.get(metric), digits, scale) for of in (part.values, part.differences)]
            body.append(cells)
    return _table([kind, "arm", "accuracy, %", "Δ", "tokens", "Δ"], body) if body else []


def _table(header: Sequence[str], body: Sequence[Sequence[str]]) -> list[str]:
    lines = ["| " + " | ".join(header) + " |", "|" + "---|" * len(header)]
    lines += ["| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |" for cells in body]
    return [*lines, ""]
