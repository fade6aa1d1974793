"""Tables that commands print."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from rich.table import Table
from rich.text import Text

from attnpo.discovery import DiscoveryResult
from attnpo.evaluation import EvaluationResult, Summary
from attnpo.evaluation.comparison import Bootstrap, ComparisonRow
from attnpo.evaluation.counting import COUNT
from attnpo.evaluation.exports import TITLES, scale_of
from attnpo.evaluation.metrics import group_order, split_name
from attnpo.evaluation.suites import Comparison, average_row
from attnpo.statistics import Interval

TAIL_COLUMNS = {"half": "median", "90 %": "p90", "95 %": "p95", "99 %": "p99", "all": "max"}


def short(interval: Interval | None, digits: int = 1, scale: float = 1.0) -> str:
    """Return `93.5 ±1.4`: the value and half the width of its interval."""
    if interval is None:
        return "–"
    return f"{scale * interval.value:.{digits}f} ±{scale * (interval.high - interval.low) / 2:.{digits}f}"


def change(interval: Interval | None, digits: int = 1, scale: float = 1.0) -> Text:
    """Return `+7.3` over `[5.1, 9.4]`: a difference with its interval, bold where that excludes 0."""
    if interval is None:
        return Text("–")
    value, low, high = (scale * x for x in (interval.value, interval.low, interval.high))
    shown = (f"{value:+.{digits}f}", "bold" if interval.excludes(0) else "")
    return Text.assemble(shown, f"\n[{low:.{digits}f}, {high:.{digits}f}]")


def tokens(interval: Interval | None) -> str:
    """Return a length in tokens, without decimals where it is long."""
    return short(interval, 1 if interval is None or interval.value < 1000 else 0)


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
            tables.append(_numbered(TITLES[kind], first, values, 1, 100))
    for kind in ("difficulty", "subject"):
        tables += _groups(kind, results)
    return tables


def cost_line(result: EvaluationResult) -> str:
    """Return what the measurement took: time, tokens a second and the share of time not spent in the engine."""
    minutes = result.wall_seconds / 60
    said = f"{minutes:,.1f} minutes, {result.tokens_per_second:,.0f} tokens/s"
    if result.overhead_share is not None:
        said += f", {100 * result.overhead_share:.1f} % of the time outside the engine"
    if not result.exact_token_counts:
        said += "; the engine reported text, so lengths are those of the text tokenized again"
    return said


def suite_table(results: Mapping[str, EvaluationResult]) -> Table:
    """Return one row a benchmark and their plain mean, for the benchmarks of one run."""
    table = _table("mean ± half the 95 % interval over problems", ("benchmark", "accuracy %", "tokens", "cut off %"))
    for name, result in results.items():
        summary = result.overall
        cut_off = f"{100 * summary.truncated.value:.1f}"
        table.add_row(name, short(summary.accuracy, 1, 100), tokens(summary.response_tokens), cut_off)
    values = average_row(results, Bootstrap()).values
    cut_off = short(values["truncated"], 1, 100).partition(" ")[0]
    cells = (short(values["accuracy"], 1, 100), tokens(values["response_tokens"]), cut_off)
    table.add_section()
    table.add_row("average", *cells, style="bold")
    return table


def comparison_tables(comparison: Comparison) -> list[Table]:
    """Return the terminal's tables of a comparison: every benchmark's and, where there are several, the average's."""
    tables = []
    for section in comparison.sections:
        head = f"{section.title}: {section.num_problems:,} problems, {section.samples_per_problem} responses each"
        tables += [_compared(head, section.rows), *_counted(section.rows), *_numbered_rows(section.rows)]
    if comparison.average:
        title = f"average over {len(comparison.sections)} benchmarks"
        average = comparison.average
        tables += [_compared(title, average), *_counted(average), *_numbered_rows(average)]
    return tables


def discovery_table(result: DiscoveryResult) -> Table:
    """Return the chosen heads beside the trivial rules."""
    table = Table(title="Step Ranking Accuracy on problems the heads were not chosen on", title_justify="left")
    for column in ("what ranks the steps", "SRA", "equal lengths only"):
        table.add_column(column, justify="left" if column.startswith("what") else "right")
    heads = " ".join(f"({layer},{head})" for layer, head in result.chosen)
    table.add_row(f"chosen heads {heads}", short(result.chosen_sra, 3), short(result.chosen_sra_length_matched, 3))
    for name, rule in result.trivial.items():
        table.add_row(name, short(rule.sra, 3), short(rule.sra_length_matched, 3))
    return table


def _overall(results: Sequence[EvaluationResult]) -> Table:
    labelled = any(result.overall.redundant_steps is not None for result in results)
    steps = ("redundant", "essential") if labelled else ("steps",)
    table = _table("mean ± half the 95 % interval over problems", ("run", "accuracy %", "tokens", *steps, "cut off %"))
    for result in results:
        summary = result.overall
        cells = [result.name, short(summary.accuracy, 1, 100), tokens(summary.response_tokens)]
        if labelled:
            cells += [short(summary.redundant_steps, 2), short(summary.essential_steps, 2)]
        else:
            cells.append(short(summary.steps))
        table.add_row(*cells, f"{100 * summary.truncated.value:.1f}")
    return table


def _tails(results: Sequence[EvaluationResult]) -> list[Table]:
    """Return how long the responses of each run and their parts get, none where no run knows it."""
    table = _table("tokens: mean, and share of responses at most so long", ("run", "of", "mean", *TAIL_COLUMNS))
    for result in results:
        for part, tail in result.overall.tails.items():
            cells = (f"{getattr(tail, name):,.0f}" for name in TAIL_COLUMNS.values())
            table.add_row(result.name, part.removesuffix("_tokens"), tokens(getattr(result.overall, part)), *cells)
    return [table] if table.row_count else []


def _phrases(results: Sequence[EvaluationResult]) -> Table:
    table = _table("phrases a response", ("run", "confused", "progression", "summary"))
    for result in results:
        summary = result.overall
        counts = (summary.confused_phrases, summary.progression_phrases, summary.summary_phrases)
        table.add_row(result.name, *(short(count, 2) for count in counts))
    return table


def _numbered(title: str, first: str, values: Mapping[str, Mapping[int, Interval]], digits: int, scale: float) -> Table:
    """Return a table with one row a number and one column a run."""
    table = _table(title, (first, *values))
    for number in sorted({number for found in values.values() for number in found}):
        cells = (short(found.get(number), digits, scale) for found in values.values())
        table.add_row(f"{number:,}", *cells)
    return table


def _groups(kind: str, results: Sequence[EvaluationResult]) -> list[Table]:
    """Return accuracy by difficulty or subject: one column a group where there are few, else one row."""
    parts = {result.name: getattr(result, f"by_{kind}") for result in results}
    names = group_order(name for found in parts.values() for name in found)
    if not names:
        return []
    if len(names) <= 8:
        table = _table(f"accuracy by {kind}, %", ("run", *names))
        for run, found in parts.items():
            table.add_row(run, *(_accuracy(found.get(name)) for name in names))
    else:
        table = _table(f"accuracy by {kind}, %", (kind, *parts))
        for name in names:
            table.add_row(name, *(_accuracy(found.get(name)) for found in parts.values()))
    return [table]


def _accuracy(summary: Summary | None) -> str:
    return "–" if summary is None else short(summary.accuracy, 1, 100)


def _compared(title: str, rows: Sequence[ComparisonRow]) -> Table:
    table = _table(title, ("arm", "accuracy %", "Δ points", "tokens", "saved %", "AES"))
    table.box, table.padding = None, (0, 2, 0, 0)  # two columns of intervals leave no room for lines in 80 characters
    for row in rows:
        table.add_row(
            f"{row.name}\n{row.runs} runs" if row.runs > 1 else row.name,
            short(row.values["accuracy"], 1, 100),
            change(row.differences.get("accuracy"), 1, 100),
            tokens(row.values["response_tokens"]),
            change(row.response_tokens_saved, 1, 100),
            change(row.efficiency, 2),
        )
    return table


def _counted(rows: Sequence[ComparisonRow]) -> list[Table]:
    """Return what a counter counted in each arm, one row a count."""
    found = {row.name: {m: i for m, i in row.values.items() if m.startswith(COUNT)} for row in rows}
    return _counts({name: {m.removeprefix(COUNT): i for m, i in counts.items()} for name, counts in found.items()})


def _counts(values: Mapping[str, Mapping[str, Interval | None]]) -> list[Table]:
    """Return one row a count and one column a run, none where nothing was counted."""
    names = list(dict.fromkeys(name for counts in values.values() for name in counts))
    if not names:
        return []
    table = _table("counted a response, or share", ("count", *values))
    for name in names:
        table.add_row(name.replace("_", " "), *(short(counts.get(name), 3) for counts in values.values()))
    return [table]


def _numbered_rows(rows: Sequence[ComparisonRow]) -> list[Table]:
    tables = []
    for kind in ("pass", "majority", "accuracy"):
        values = {row.name: _numbered_values(row, kind) for row in rows}
        numbers = {number for found in values.values() for number in found}
        if numbers and (len(numbers) > 1 or kind == "accuracy"):
            scale, digits = scale_of(kind)
            first = "k" if kind in ("pass", "majority") else "budget"
            tables.append(_numbered(TITLES[kind], first, values, digits, scale))
    return tables


def _numbered_values(row: ComparisonRow, kind: str) -> dict[int, Interval]:
    found = {split_name(metric): interval for metric, interval in row.values.items()}
    return {
        number: interval
        for (name, number), interval in found.items()
        if name == kind and number is not None and interval is not None
    }


def _table(title: str, columns: Sequence[str]) -> Table:
    table = Table(title=title, title_justify="left", min_width=len(title))
    for column in columns:
        table.add_column(column, justify="right" if column != columns[0] else "left", no_wrap=True)
    return table
