"""Tables that commands print."""

from __future__ import annotations

from collections.abc import Sequence

from rich.table import Table

from attnpo.discovery import DiscoveryResult
from attnpo.evaluation import EvaluationResult
from attnpo.evaluation.metrics import difficulty_order
from attnpo.statistics import Interval


def short(interval: Interval | None, digits: int = 1, scale: float = 1.0) -> str:
    """Return `93.5 ±1.4`: the value and half the width of its interval."""
    if interval is None:
        return "–"
    return f"{scale * interval.value:.{digits}f} ±{scale * (interval.high - interval.low) / 2:.{digits}f}"


def evaluation_tables(results: Sequence[EvaluationResult]) -> list[Table]:
    """Return accuracy, lengths and steps of each run, and accuracy by difficulty where it is known."""
    overall = Table(title="mean ± half the 95 % interval over problems", title_justify="left")
    columns = ("run", "accuracy %", "tokens", "redundant", "essential", "cut off %")
    for column in columns:
        overall.add_column(column, justify="left" if column == "run" else "right", no_wrap=True)
    for result in results:
        summary = result.overall
        overall.add_row(
            result.name,
            short(summary.accuracy, 1, 100),
            short(summary.response_tokens),
            short(summary.redundant_steps, 2),
            short(summary.essential_steps, 2),
            f"{100 * summary.truncated.value:.1f}",
        )
    difficulties = sorted({d for result in results for d in result.by_difficulty}, key=difficulty_order)
    if not difficulties:
        return [overall]
    by_difficulty = Table(title="accuracy by difficulty, %", title_justify="left")
    by_difficulty.add_column("run", no_wrap=True)
    for difficulty in difficulties:
        by_difficulty.add_column(difficulty, justify="right", no_wrap=True)
    for result in results:
        cells = (result.by_difficulty.get(d) for d in difficulties)
        by_difficulty.add_row(result.name, *("–" if c is None else short(c.accuracy, 1, 100) for c in cells))
    return [overall, by_difficulty]


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
