"""The comparison table as Markdown, CSV and JSON."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from typing import Any

from attnpo.errors import listed
from attnpo.evaluation.comparison import ComparisonRow
from attnpo.evaluation.exports import row_json
from attnpo.metrics import METRICS, metric_of
from attnpo.reporting.reproduction.costs import MASSES, Costs
from attnpo.reporting.reproduction.table import MethodTable, TableRow
from attnpo.statistics import Interval
from attnpo.tables import NOTHING, Column, Number, Row, Table, csv_text, number_of, numbers_of

COSTS = {"extra_tokens": "extra_tokens", "extra_pass_tokens": "extra_pass_tokens", "steps": "optimizer_steps"}
"""Field of `Costs` → the metric that it is."""
AUDIT = {name: name for name in ("essential_punished", "redundant_rewarded")}
MASS_NOTE = (
    "Shares of the advantage over all tokens, mean over training: taken away and put on, by sign; first of the "
    "verdict's own leave-one-out advantage, then of the method's before its steps. A method that divides by the "
    "standard deviation puts on."
)
CSV_COLUMNS = ("row", "group", "runs", "against", "of", "metric", "value", "low", "high")


COUNTED = {
    "count:useful_checks": "Useful checks, which put a right value in place of a wrong one, are means, too. ",
    "count:slips_mended": "Slips mended is the share of wrong values that were put right later in the response. ",
}
"""Metrics that an evaluation may lack → what they are."""


def legend(table: MethodTable) -> str:
    """Return what the columns mean."""
    counted = "".join(said for name, said in COUNTED.items() if name in table.metrics())
    return (
        f"In brackets: {100 * table.level:g} % intervals by bootstrap over problems and over runs, Student's t with "
        "the runs' degrees of freedom (costs: the lowest and the highest run). AES: length saved + 3 × relative gain "
        "of accuracy, or − 5 × relative loss, against the model at the start. "
        f"Redundant and essential steps are means a response. {counted}"
        "Extra tokens are sampled beyond the responses trained on, extra pass tokens read in forward passes that "
        "training would not make anyway, both a trained response; steps are the optimizer steps of a run."
    )


def main_table(table: MethodTable) -> Table:
    """Return the table of all rows: what was measured, and what training cost."""
    metrics = table.metrics()
    names = [*metrics[:2], "efficiency", *metrics[2:]]
    rows = [
        Row(
            row.name,
            (
                *numbers_of({**row.comparison.values, "efficiency": row.comparison.efficiency}, names),
                *cost_numbers(row, COSTS),
            ),
        )
        for row in table.rows
    ]
    return Table((Column("row"), *_columns([*names, *COSTS.values()])), tuple(rows))


def difference_table(table: MethodTable, rows: Sequence[ComparisonRow]) -> Table:
    """Return the differences of rows from one of them."""
    metrics = [m for m in table.metrics() if any(row.differences.get(m) is not None for row in rows)]
    heads = _columns(metrics)
    heads = [replace(c, title="points" if m == "accuracy" else c.title) for c, m in zip(heads, metrics, strict=True)]
    lines = [Row(row.name, tuple(numbers_of(row.differences, metrics, difference=True))) for row in rows]
    return Table((Column("row"), *heads), tuple(lines))


def difficulty_table(table: MethodTable) -> Table:
    """Return accuracy by difficulty; without rows where there are fewer than two."""
    levels = list(table.rows[0].comparison.by_difficulty)
    found = [(row.name, row.comparison.accuracy_by_difficulty) for row in table.rows] if len(levels) > 1 else []
    rows = [Row(name, tuple(number_of("accuracy", of.get(level)) for level in levels)) for name, of in found]
    return Table((Column("row"), *(Column(level, better="high") for level in levels)), tuple(rows))


def mass_table(table: MethodTable) -> Table:
    """Return what credit took away from the advantage and put on; without rows whose logs do not say."""
    heads = [name.replace("/", ": ").replace("_", " ") for name in MASSES]
    lines = [
        [row.name, *(f"{100 * row.mass[n]:z.1f}" if n in row.mass else NOTHING for n in MASSES)]
        for row in table.trained
        if row.mass
    ]
    return Table.of("", ["row", *heads], lines)


def audit_table(table: MethodTable) -> Table:
    """Return what the credit did to steps of known labels; without rows where no log knows it."""
    found = [(row.name, cost_numbers(row, AUDIT)) for row in table.trained]
    rows = [Row(name, tuple(cells)) for name, cells in found if any(cell.interval is not None for cell in cells)]
    return Table((Column("row"), *_columns(AUDIT.values())), tuple(rows))


def cost_numbers(row: TableRow, fields: Mapping[str, str]) -> list[Number]:
    """Return some of what training cost."""
    return [number_of(name, None if row.costs is None else getattr(row.costs, field)) for field, name in fields.items()]


def table_markdown(table: MethodTable) -> str:
    """Return the tables in Markdown: the main one, differences, by difficulty, what the credit did."""
    main, runs = main_table(table), [str(row.comparison.runs) for row in table.rows]
    counted = tuple(replace(row, cells=(n, *row.cells)) for n, row in zip(runs, main.rows, strict=True))
    main = Table((main.columns[0], Column("runs"), *main.columns[1:]), counted)
    parts = [main.markdown()]
    if table.missing:
        parts.append(f"Not there yet: {listed(table.missing)}.")
    parts.append(legend(table))
    for name, rows in table.differences.items():
        found = difference_table(table, rows)
        saved = METRICS["response_tokens_saved"].column
        heads = [replace(column, title=f"Δ {column.title}") for column in found.columns[1:]]
        lines = [
            replace(line, cells=(*line.cells, number_of("response_tokens_saved", row.response_tokens_saved)))
            for line, row in zip(found.rows, rows, strict=True)
        ]
        found = Table((found.columns[0], *heads, Column(saved)), tuple(lines))
        parts += [f"### Differences from {name}, problem by problem", found.markdown()]
    if (levels := difficulty_table(table)).rows:
        parts += ["### Accuracy by difficulty, %", levels.markdown()]
    if (audit := audit_table(table)).rows:
        said = "Shares of the steps of each kind in the training responses, mean over the run."
        parts += ["### What the credit did while training", audit.markdown(), said]
    if (masses := mass_table(table)).rows:
        parts += ["### Advantage taken away and put on, %", masses.markdown(), MASS_NOTE]
    if table.caveats:
        parts += ["Caveats:", "\n".join(f"- {text}" for text in table.caveats)]
    return "\n\n".join(parts) + "\n"


def table_csv(table: MethodTable) -> str:
    """Return all numbers as CSV in long form; `against` names the row of a difference, `of` a group of problems."""
    lines = [
        [row.name, row.group, row.comparison.runs, against, of, metric, interval]
        for row in table.rows
        for against, of, metric, interval in _numbers(table, row)
        if interval is not None
    ]
    return csv_text(CSV_COLUMNS, lines)


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


def _columns(names: Iterable[str]) -> list[Column]:
    return [Column(metric.column, better=metric.better) for metric in map(metric_of, names)]


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
