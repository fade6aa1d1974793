"""A verification as it is shown: a head set's evidence, then and on new traces."""

from __future__ import annotations

from markupsafe import Markup

from attnpo.discovery.evidence import VerificationResult
from attnpo.metrics import SRA
from attnpo.reporting.heads import CREDIT_CELLS
from attnpo.reporting.intervals import Dots
from attnpo.tables import NOTHING, Column, Number, Row, Table

FIGURE_NAMES = {
    "sra": "SRA, all pairs",
    "sra_length_matched": "SRA, length-matched pairs",
    **{f"credit: {cell}": title for cell, title, _ in CREDIT_CELLS},
}
"""Figures of a head set's evidence that are about the heads themselves, as people call them."""


def figure_table(result: VerificationResult) -> Table:
    """Return a verification's figures as the head set carries them and on the new traces, in the order of the file."""
    dots = Dots.over([i for f in result.figures for i in (f.then, f.now) if i is not None])
    rows = []
    for f in result.figures:
        ours = not f.name.startswith(("trivial", "signal"))
        verdict = (
            NOTHING
            if f.overlap is None
            else "inside"
            if f.inside
            else "near: intervals overlap"
            if f.overlap
            else "apart"
        )
        name = FIGURE_NAMES.get(f.name, f.name.partition(": ")[2] or f.name)
        drawing = Markup() if f.now is None else dots.draw(name, f.now, f.then, ours, ("now", "then"))
        css = " ".join(["ours"] * ours + ["moved"] * (verdict == "apart"))
        rows.append(Row(name, (Number(f.then, SRA), Number(f.now, SRA), verdict, drawing), css=css))
    columns = (
        Column("figure"), Column("then"), Column("now"), Column("now is", words=True), Column("drawing", drawing=True)
    )  # fmt: skip
    return Table(columns, tuple(rows))
