"""Tables of evaluations and their comparison, for terminals."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from attnpo.evaluation import EvaluationResult, Summary
from attnpo.evaluation.comparison import Bootstrap, ComparisonRow
from attnpo.evaluation.metrics import group_order
from attnpo.evaluation.suites import Comparison, average_row
from attnpo.metrics import COUNT, METRICS, NUMBERED, Metric, metric_of, split_name
from attnpo.statistics import Interval
from attnpo.tables import NOTHING, Column, Number, Row, Table, Value, number_of

TAIL_COLUMNS = {"half": "median", "90 %": "p90", "95 %": "p95", "99 %": "p99", "all": "max"}
MEAN = "mean ± half the 95 % interval over problems"
COMPARED = ("accuracy %", "Δ points", "tokens", "saved %", "AES")
Numbered = Mapping[str, Mapping[int, Interval]]
"""Run → number (k, budget) → value."""


def evaluation_tables(results: Sequence[EvaluationResult]) -> list[Table]:
    """Return accuracy, lengths, steps and phrases of each run, and pass@k, budgets and groups where they are known."""
    tables = [_overall(results), *_tails(results), _phrases(results)]
    tables += _counts({result.name: result.overall.counts for result in results})
    numbered: tuple[tuple[str, str, Callable[[Summary], Mapping[int, Interval]]], ...] = (
        ("pass", "k", lambda s: s.pass_at_k if len(s.pass_at_k) > 1 else {}),
        ("majority", "k", lambda s: (s.majority_at_k or {}) if len(s.pass_at_k) > 1 else {}),
        ("accuracy", "tokens", lambda s: {b: point.accuracy for b, point in s.budgets.items()}),
    )
    for kind, first, read in numbered:
        values = {result.name: read(result.overall) for result in results}
        if any(values.values()):
            tables.append(_numbered(kind, first, values))
    for kind in ("difficulty", "subject"):
        tables += _groups(kind, results)
    return tables


def cost_line(result: EvaluationResult) -> str:
    """Return what the measurement took (time, tokens a second, the engine's share), and what its lengths are."""
    minutes = result.wall_seconds / 60
    said = f"{minutes:,.1f} minutes, {result.tokens_per_second:,.0f} tokens/s"
    if result.overhead_share is not None:
        said += f", {100 * result.overhead_share:.1f} % of the time outside the engine"
    if not result.exact_token_counts:
        said += "; the engine reported text, so lengths are those of the text tokenized again"
    return f"{said}; {result.failures_said}" if result.failures_said else said


def suite_table(results: Mapping[str, EvaluationResult]) -> Table:
    """Return one row a benchmark and their plain mean, for the benchmarks of one run."""
    metrics = ("accuracy", "response_tokens")
    rows = [Row(n, (*_cells(r.overall, metrics), _cut_off(r.overall.truncated))) for n, r in results.items()]
    values = average_row(results, Bootstrap()).values
    average: list[Value] = [number_of(metric, values[metric]) for metric in metrics]
    rows.append(Row("average", (*average, _cut_off(values["truncated"])), strong=True, apart=True))
    return Table(tuple(map(Column, ("benchmark", "accuracy %", "tokens", "cut off %"))), tuple(rows), MEAN)


def comparison_tables(comparison: Comparison) -> list[Table]:
    """Return the terminal's tables of a comparison: every benchmark's and, where there are several, the average's."""
    blocks = [
        (f"{s.title}: {s.num_problems:,} problems, {s.samples_per_problem} responses each", s.rows)
        for s in comparison.sections
    ]
    if comparison.average:
        blocks.append((f"average over {len(comparison.sections)} benchmarks", comparison.average))
    return [table for head, rows in blocks for table in _compared(head, rows)]


def compared_cells(row: ComparisonRow) -> tuple[Number, ...]:
    """Return accuracy, points, tokens and tokens saved of an arm."""
    return (
        number_of("accuracy", row.values["accuracy"]),
        number_of("accuracy", row.differences.get("accuracy"), difference=True),
        number_of("response_tokens", row.values["response_tokens"]),
        number_of("response_tokens_saved", row.response_tokens_saved, difference=True),
    )


def compared_row(row: ComparisonRow) -> Row:
    """Return the same with the efficiency score, as a row."""
    cells = (*compared_cells(row), number_of("efficiency", row.efficiency, difference=True))
    return Row(row.name, cells, f"{row.runs} runs" if row.runs > 1 else "")


def _cells(summary: Summary, metrics: Sequence[str]) -> list[Value]:
    return [number_of(metric, getattr(summary, metric)) for metric in metrics]


def _cut_off(truncated: Interval | None) -> str:
    return NOTHING if truncated is None else METRICS["truncated"].number(truncated.value)


def _overall(results: Sequence[EvaluationResult]) -> Table:
    labelled = any(result.overall.redundant_steps is not None for result in results)
    steps = {"redundant_steps": "redundant", "essential_steps": "essential"} if labelled else {"steps": "steps"}
    metrics = ("accuracy", "response_tokens", *steps)
    rows = [[r.name, *_cells(r.overall, metrics), _cut_off(r.overall.truncated)] for r in results]
    return Table.of(MEAN, ("run", "accuracy %", "tokens", *steps.values(), "cut off %"), rows)


def _tails(results: Sequence[EvaluationResult]) -> list[Table]:
    """Return how long the responses of each run and their parts get, none where no run knows it."""
    rows = [
        (
            result.name,
            part.removesuffix("_tokens"),
            number_of(part, getattr(result.overall, part)),
            *(f"{getattr(tail, name):,.0f}" for name in TAIL_COLUMNS.values()),
        )
        for result in results
        for part, tail in result.overall.tails.items()
    ]
    title = "tokens: mean, and share of responses at most so long"
    return [Table.of(title, ("run", "of", "mean", *TAIL_COLUMNS), rows)] if rows else []


def _phrases(results: Sequence[EvaluationResult]) -> Table:
    families = ("confused", "progression", "summary")
    rows = [[result.name, *_cells(result.overall, [f"{f}_phrases" for f in families])] for result in results]
    return Table.of("phrases a response", ("run", *families), rows)


def _numbered(kind: str, first: str, values: Numbered) -> Table:
    """Return a table with one row a number and one column a run."""
    found = sorted({n for values_of_run in values.values() for n in values_of_run})
    rows = [[f"{n:,}", *(number_of(kind, of.get(n)) for of in values.values())] for n in found]
    return Table.of(NUMBERED[kind], (first, *values), rows)


def _groups(kind: str, results: Sequence[EvaluationResult]) -> list[Table]:
    """Return accuracy by difficulty or subject: one column a group where there are few, else one row."""
    parts = {result.name: getattr(result, f"by_{kind}") for result in results}
    names = group_order(name for found in parts.values() for name in found)
    cells = {
        (run, n): number_of("accuracy", of[n].accuracy if n in of else None) for run, of in parts.items() for n in names
    }
    title = f"accuracy by {kind}, %"
    if not names:
        return []
    if len(names) <= 8:
        return [Table.of(title, ("run", *names), [[run, *(cells[run, n] for n in names)] for run in parts])]
    return [Table.of(title, (kind, *parts), [[n, *(cells[run, n] for run in parts)] for n in names])]


def _compared(title: str, rows: Sequence[ComparisonRow]) -> list[Table]:
    # Two columns of intervals leave no room for lines in 80 characters.
    heads = tuple(map(Column, ("arm", *COMPARED)))
    tables = [Table(heads, tuple(map(compared_row, rows)), title, lines=False)]
    counts = {row.name: {m: i for m, i in row.values.items() if m.startswith(COUNT)} for row in rows}
    tables += _counts({name: {m.removeprefix(COUNT): i for m, i in found.items()} for name, found in counts.items()})
    for kind in ("pass", "majority", "accuracy"):
        values = {row.name: _numbered_values(row, kind) for row in rows}
        numbers = {number for found in values.values() for number in found}
        if numbers and (len(numbers) > 1 or kind == "accuracy"):
            tables.append(_numbered(kind, "budget" if kind == "accuracy" else "k", values))
    return tables


def _counts(values: Mapping[str, Mapping[str, Interval | None]]) -> list[Table]:
    """Return one row a count and one column a run, none where nothing was counted."""
    names = list(dict.fromkeys(name for counts in values.values() for name in counts))
    metrics: dict[str, Metric] = {name: metric_of(f"{COUNT}{name}") for name in names}
    rows = [[m.row, *(Number(counts.get(name), m) for counts in values.values())] for name, m in metrics.items()]
    return [Table.of("counted a response, or share", ("count", *values), rows)] if rows else []


def _numbered_values(row: ComparisonRow, kind: str) -> dict[int, Interval]:
    found = {split_name(metric): interval for metric, interval in row.values.items()}
    return {
        number: interval
        for (name, number), interval in found.items()
        if name == kind and number is not None and interval is not None
    }
