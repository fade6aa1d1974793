"""Noise by the redundant share of problems, as tables: credits against bins."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from attnpo.gradients.credits import ACCURACY, LENGTH
from attnpo.gradients.result import GradientsResult, RedundancyBin
from attnpo.reporting.gradients import said
from attnpo.tables import Table

OVER_REFERENCE: dict[str, tuple[str, Collection[str]]] = {
    "signal_to_noise_ratio": ("signal/noise", ()),
    "accuracy_for_noise_ratio": ("accuracy/√noise", (LENGTH,)),
    "tokens_for_noise_ratio": ("tokens saved/√noise", (ACCURACY,)),
}
"""Measure → title, and the references that themselves hardly change what it is of."""
ALONE = {"noise": ("noise", 2), "signal_to_noise": ("signal/noise", 3)}
"""Measure → title and decimals."""
BINS_NOTE = (
    "By the redundant share of a problem's think tokens, as many problems in each bin. Every value is of batches that "
    "hold problems of the bin alone, ± one standard error (jackknife over batches). Over reference: against accuracy, "
    "length, or TLMRE of the same strength on the same problems; above 1 is less noise for what it changes. Bins are "
    "told by the same responses that gradients are of, and differ in more than redundancy: see how many are right."
)


def bins_table(result: GradientsResult) -> Table:
    """Return what the bins hold."""
    columns = ["redundant share", "from", "to", "problems", "right", "tokens a response"]
    rows = [
        [
            f"{100 * own.share:.1f} %",
            *(f"{100 * end:.1f} %" for end in (own.low, own.high)),
            str(own.problems),
            f"{100 * own.accuracy:.1f} %",
            f"{own.tokens:.1f}",
        ]
        for own in result.redundancy_bins
    ]
    return Table.of("Problems by redundant share", columns, rows)


def over_reference_tables(result: GradientsResult, metric: str, title: str) -> list[Table]:
    """Return how much less noise each credit has than its reference: in all, on accuracy's part, on length's part.

    Args:
        result: the result, with bins.
        metric: plain or Adam's.
        title: what it is called.
    """
    tables = []
    for measure, (name, hardly) in OVER_REFERENCE.items():
        rows = [
            [row.name, row.beside, *_cells(result.redundancy_bins, metric, row.name, measure, 2)]
            for row in result.rows
            if row.beside not in ("", row.name, *hardly)
        ]
        if rows:
            columns = ["credit", "reference", *_heads(result)]
            tables.append(Table.of(f"{title}: {name} over reference, by redundant share", columns, rows))
    return tables


def alone_table(result: GradientsResult, metric: str, title: str, measure: str) -> Table:
    """Return a measure of every credit by itself, in each bin."""
    name, digits = ALONE[measure]
    rows = [[row.name, *_cells(result.redundancy_bins, metric, row.name, measure, digits)] for row in result.rows]
    return Table.of(f"{title}: {name}, by redundant share", ["credit", *_heads(result)], rows)


def bins_markdown(result: GradientsResult, titles: dict[str, str]) -> str:
    """Return all of it as Markdown.

    Args:
        result: the result, with bins.
        titles: metric → what it is called.
    """
    parts = ["## By redundant share", BINS_NOTE, bins_table(result).markdown()]
    for metric, title in titles.items():
        alone = [alone_table(result, metric, title, measure) for measure in ALONE]
        for table in (*over_reference_tables(result, metric, title), *alone):
            parts += [f"### {table.title}", table.markdown()]
    return "\n\n".join(parts) + "\n"


def _heads(result: GradientsResult) -> list[str]:
    return [f"{100 * own.share:.0f} %" for own in result.redundancy_bins]


def _cells(bins: Sequence[RedundancyBin], metric: str, credit: str, measure: str, digits: int) -> list[str]:
    return [said(own.measures[metric].get(credit, {}).get(measure), digits) for own in bins]
