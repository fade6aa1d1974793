"""Tables that commands print."""

from __future__ import annotations

from collections.abc import Sequence

from rich.table import Table

from attnpo.discovery import DiscoveryResult
from attnpo.evaluation import EvaluationResult
from attnpo.statistics import Interval


def percent(interval: Interval | None) -> str:
    """Return `93.5 % (92.0–94.9)`."""
    if interval is None:
        return "–"
    return f"{interval.value:.1%} ({interval.low * 100:.1f}–{interval.high * 100:.1f})".replace("%", " %", 1)


def number(interval: Interval | None, digits: int = 1) -> str:
    """Return `83.1 (82.0–84.1)`."""
    if interval is None:
        return "–"
    return f"{interval.value:.{digits}f} ({interval.low:.{digits}f}–{interval.high:.{digits}f})"


def evaluation_table(results: Sequence[EvaluationResult]) -> Table:
    """Return one row a run: accuracy, lengths and steps with 95 % intervals, then accuracy by difficulty."""
    difficulties = sorted({d for result in results for d in result.by_difficulty})
    table = Table(title="mean and interval over problems", title_justify="left")
    for column in ("run", "accuracy", "response tokens", "redundant steps", "essential steps", "cut off"):
        table.add_column(column, justify="left" if column == "run" else "right")
    for difficulty in difficulties:
        table.add_column(f"difficulty {difficulty}", justify="right")
    for result in results:
        overall = result.overall
        table.add_row(
            result.name,
            percent(overall.accuracy),
            number(overall.response_tokens),
            number(overall.redundant_steps, 2),
            number(overall.essential_steps, 2),
            f"{overall.truncated.value:.1%}",
            *(
                f"{result.by_difficulty[d].accuracy.value:.1%}" if d in result.by_difficulty else "–"
                for d in difficulties
            ),
        )
    return table


def discovery_table(result: DiscoveryResult) -> Table:
    """Return the chosen heads beside the trivial rules."""
    table = Table(title="Step Ranking Accuracy on problems the heads were not chosen on", title_justify="left")
    for column in ("what ranks the steps", "SRA", "SRA, steps of equal length"):
        table.add_column(column, justify="left" if column.startswith("what") else "right")
    heads = " ".join(f"({layer},{head})" for layer, head in result.chosen)
    table.add_row(f"chosen heads {heads}", number(result.chosen_sra, 3), number(result.chosen_sra_length_matched, 3))
    for name, rule in result.trivial.items():
        table.add_row(name, number(rule.sra, 3), number(rule.sra_length_matched, 3))
    return table
