"""The comparison table as Markdown, CSV and JSON."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from typing import Any

from attnpo.evaluation.comparison import ComparisonRow, written
from attnpo.evaluation.exports import row_json
from attnpo.reporting.reproduction.costs import Costs
from attnpo.reporting.reproduction.table import MethodTable, TableRow
from attnpo.statistics import Interval

TITLES: Mapping[str, tuple[str, float, int]] = {
    "accuracy": ("accuracy, %", 100.0, 1),
    "response_tokens": ("tokens", 1.0, 1),
    "redundant_steps": ("redundant steps", 1.0, 2),
    "essential_steps": ("essential steps", 1.0, 2),
    "count:useful_checks": ("useful checks", 1.0, 3),
    "count:slips_mended": ("slips mended, %", 100.0, 1),
}
"""Metric → its title, the factor and the decimals it is written with."""
COSTS: Mapping[str, tuple[str, float, int]] = {
    "extra_tokens": ("extra tokens", 1.0, 1),
    "extra_pass_tokens": ("extra pass tokens", 1.0, 1),
    "steps": ("steps", 1.0, 0),
}
AUDIT: Mapping[str, tuple[str, float, int]] = {
    "essential_punished": ("essential steps punished, %", 100.0, 1),
    "redundant_rewarded": ("redundant steps rewarded, %", 100.0, 1),
}
GROUPS: Mapping[str, str] = {
    "base": "start",
    "main": "published methods",
    "attnpo": "AttnPO",
    "ablation": "ablations",
    "control": "controls",
    "bound": "bounds, which only the small world can give",
    "options": "options",
}
CSV_COLUMNS = ("row", "group", "runs", "against", "of", "metric", "value", "low", "high")


def legend(level: float) -> str:
    """Return what the columns mean."""
    return (
        f"In brackets: {100 * level:g} % intervals by bootstrap over problems and over runs (costs: over runs alone). "
        "AES: length saved + 3 × relative gain of accuracy, or − 5 × relative loss, against the starting model. "
        "Redundant and essential steps and useful checks are means a response; a useful check puts a right value in "
        "place of a wrong one; slips mended is the share of wrong values that were put right later in the response. "
        "Extra tokens are sampled beyond the responses trained on, extra pass tokens read in forward passes that "
        "training would not make anyway, both a trained response; steps are the optimizer steps that the budget "
        "allowed."
    )


def shown(interval: Interval | None, digits: int, scale: float = 1.0) -> str:
    """Return `value [low, high]`, the value alone where nothing varied (costs of one run), a dash where unknown."""
    if interval is not None and interval.low == interval.high:
        return f"{scale * interval.value:.{digits}f}"
    return written(interval, digits, scale)


def table_markdown(table: MethodTable) -> str:
    """Return the tables in Markdown: the main one, differences, by difficulty, what the credit did."""
    lines = [*_main(table), ""]
    if table.missing:
        lines += [f"Not there yet: {', '.join(table.missing)}.", ""]
    lines += [legend(table.level), ""]
    for name, rows in table.against.items():
        lines += [f"### Differences from {name}, problem by problem", "", *_differences(table, rows), ""]
    lines += _difficulties(table)
    lines += _audit(table)
    if table.caveats:
        lines += ["Caveats:", "", *(f"- {text}" for text in table.caveats), ""]
    return "\n".join(lines).rstrip() + "\n"


def table_csv(table: MethodTable) -> str:
    """Return all numbers as CSV in long form; `against` names the row of a difference, `of` a group of problems."""
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(CSV_COLUMNS)
    for row in table.rows:
        for against, of, metric, interval in _numbers(table, row):
            if interval is not None:
                cells = (interval.value, interval.low, interval.high)
                writer.writerow([row.name, row.group, row.comparison.runs, against, of, metric, *cells])
    return stream.getvalue()


def table_json(table: MethodTable, about: Mapping[str, Any]) -> str:
    """Return all numbers as JSON.

    Args:
        table: the table.
        about: how it was made: date, commit, command, machine, settings.
    """
    content = {
        "schema_version": 1,
        **about,
        "level": table.level,
        "missing": list(table.missing),
        "caveats": list(table.caveats),
        "rows": {
            row.name: {
                "group": row.group,
                "seeds": list(row.seeds),
                **row.about,
                **row_json(row.comparison),
                "costs": None if row.costs is None else _costs_json(row.costs),
            }
            for row in table.rows
        },
        "against": {name: {row.name: row_json(row) for row in rows} for name, rows in table.against.items()},
    }
    return json.dumps(content, indent=2, ensure_ascii=False) + "\n"


def _main(table: MethodTable) -> list[str]:
    metrics = table.metrics()
    header = ["row", "runs", *(TITLES[m][0] for m in metrics[:2]), "AES", *(TITLES[m][0] for m in metrics[2:])]
    header += [title for title, *_ in COSTS.values()]
    body = []
    for row in table.rows:
        values = row.comparison.values
        cells = [written(values.get(m), TITLES[m][2], TITLES[m][1]) for m in metrics]
        cells.insert(2, written(row.comparison.efficiency, 2))
        body.append([row.name, str(row.comparison.runs), *cells, *_cost_cells(row, COSTS)])
    return _grid(header, body)


def _differences(table: MethodTable, rows: Sequence[ComparisonRow]) -> list[str]:
    metrics = [m for m in table.metrics() if any(row.differences.get(m) is not None for row in rows)]
    header = ["row", *(f"Δ {'points' if m == 'accuracy' else TITLES[m][0]}" for m in metrics), "tokens saved, %"]
    body = [
        [
            row.name,
            *(written(row.differences.get(m), TITLES[m][2], TITLES[m][1]) for m in metrics),
            written(row.response_tokens_saved, 1, 100),
        ]
        for row in rows
    ]
    return _grid(header, body)


def _difficulties(table: MethodTable) -> list[str]:
    levels = list(table.rows[0].comparison.by_difficulty)
    if len(levels) < 2:
        return []
    body = []
    for row in table.rows:
        found = row.comparison.accuracy_by_difficulty
        body.append([row.name, *(written(found.get(level), 1, 100) for level in levels)])
    return ["### Accuracy by difficulty, %", "", *_grid(["row", *levels], body), ""]


def _audit(table: MethodTable) -> list[str]:
    body = [[row.name, *cells] for row in table.trained if set(cells := _cost_cells(row, AUDIT)) != {"–"}]
    if not body:
        return []
    said = "Shares of the steps of each kind in the training responses, mean over the run."
    return [
        "### What the credit did while training",
        "",
        *_grid(["row", *(t for t, *_ in AUDIT.values())], body),
        "",
        said,
        "",
    ]


def _cost_cells(row: TableRow, columns: Mapping[str, tuple[str, float, int]]) -> list[str]:
    if row.costs is None:
        return ["–"] * len(columns)
    return [shown(getattr(row.costs, name), digits, scale) for name, (_, scale, digits) in columns.items()]


def _numbers(table: MethodTable, row: TableRow) -> Iterator[tuple[str, str, str, Interval | None]]:
    comparison = row.comparison
    yield from (("", "", metric, interval) for metric, interval in comparison.values.items())
    if row.costs is not None:
        yield from (("", "training", name, getattr(row.costs, name)) for name in asdict(row.costs))
    yield "base", "", "efficiency", comparison.efficiency
    beside = {"base": comparison}
    for name, rows in table.against.items():
        found = next((found for found in rows if found.name == row.name), None)
        if found is not None:
            beside[name] = found
    for name, other in beside.items():
        yield name, "", "response_tokens_saved", other.response_tokens_saved
        yield from ((name, "", metric, interval) for metric, interval in other.differences.items())
    for level, part in comparison.by_difficulty.items():
        yield from (("", f"difficulty={level}", metric, interval) for metric, interval in part.values.items())


def _costs_json(costs: Costs) -> dict[str, Any]:
    found = {name: getattr(costs, name) for name in asdict(costs)}
    return {name: None if interval is None else interval.model_dump() for name, interval in found.items()}


def _grid(header: Sequence[str], body: Sequence[Sequence[str]]) -> list[str]:
    return [f"| {' | '.join(header)} |", "|---" * len(header) + "|", *(f"| {' | '.join(cells)} |" for cells in body)]
