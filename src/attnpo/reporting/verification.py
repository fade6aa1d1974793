"""A verification as it is shown: a head set's evidence, then and on new traces."""

from __future__ import annotations

from dataclasses import dataclass

from markupsafe import Markup

from attnpo.discovery.evidence import VerificationResult
from attnpo.reporting.heads import CREDIT_CELLS
from attnpo.reporting.intervals import Dots
from attnpo.statistics import Interval

FIGURE_NAMES = {
    "sra": "SRA, all pairs",
    "sra_length_matched": "SRA, length-matched pairs",
    **{f"credit: {cell}": title for cell, title, _ in CREDIT_CELLS},
}
"""Figures of a head set's evidence that are about the heads themselves, as people call them."""


@dataclass(frozen=True)
class FigureRow:
    """One figure of a verification: as the head set carries it, and on the new traces.

    Attributes:
        name: what it is.
        then: the stored value; None where there is none.
        now: the new one; None where it could not be measured.
        drawing: both as dots, the new one full.
        verdict: whether the new value agrees, in a word; empty where nothing can be compared.
        ours: about the chosen heads, not about a rule.
    """

    name: str
    then: Interval | None
    now: Interval | None
    drawing: Markup
    verdict: str
    ours: bool


def figure_rows(result: VerificationResult) -> list[FigureRow]:
    """Return the rows of a verification's table, in the order of the file."""
    dots = Dots.over([i for f in result.figures for i in (f.then, f.now) if i is not None])
    rows = []
    for f in result.figures:
        ours = not f.name.startswith("trivial")
        verdict = "" if f.overlap is None else "inside" if f.inside else "overlaps" if f.overlap else "apart"
        name = FIGURE_NAMES.get(f.name, f.name.partition(": ")[2] or f.name)
        drawing = Markup() if f.now is None else dots.draw(name, f.now, f.then, ours, ("now", "then"))
        rows.append(FigureRow(name, f.then, f.now, drawing, verdict, ours))
    return rows
