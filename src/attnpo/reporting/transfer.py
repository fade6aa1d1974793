"""Transfer as it is shown: heads chosen on one group of traces, measured on another."""

from __future__ import annotations

from dataclasses import dataclass

from markupsafe import Markup

from attnpo.discovery.evidence import TransferResult
from attnpo.reporting.heads import head_names
from attnpo.reporting.heat import sra_bin
from attnpo.reporting.intervals import Dots, written
from attnpo.reporting.wording import direction, signed, three_digits
from attnpo.statistics import Interval


@dataclass(frozen=True)
class TransferLine:
    """One row of the transfer table.

    Attributes:
        selected_on: where the heads were chosen.
        reported_on: where they were measured.
        heads: the heads, written.
        pairs: pairs measured on.
        sra: SRA there.
        matched: the same on length-matched pairs; None where there are none.
        drawing: SRA as a full dot, the reported group's own choice as a hollow one.
        difference: SRA minus that, as (value, interval, whether it is measurable).
        same: chosen and measured on the same group.
    """

    selected_on: str
    reported_on: str
    heads: str
    pairs: str
    sra: Interval
    matched: Interval | None
    drawing: Markup
    difference: tuple[str, str, bool]
    same: bool


def transfer_lines(result: TransferResult) -> list[TransferLine]:
    """Return the rows of the transfer table, in the order of the file."""
    dots = Dots.over([i for r in result.rows for i in (r.sra, r.best_there) if i is not None])
    lines = []
    for r in result.rows:
        difference = ("", "", False)
        if r.difference is not None:
            value, low, high = (_signed_digits(v) for v in (r.difference.value, r.difference.low, r.difference.high))
            difference = (value, f"{low} to {high}", direction(r.difference) != 0)
        same = r.selected_on == r.reported_on
        lines.append(
            TransferLine(
                selected_on=r.selected_on,
                reported_on=r.reported_on,
                heads=head_names(r.heads),
                pairs=f"{r.pairs:,}",
                sra=r.sra,
                matched=r.sra_length_matched,
                drawing=dots.draw(
                    f"chosen on {r.selected_on}, measured on {r.reported_on}",
                    r.sra,
                    None if same else r.best_there,
                    True,
                    ("SRA", "own choice"),
                ),
                difference=difference,
                same=same,
            )
        )
    return lines


@dataclass(frozen=True)
class MatrixCell:
    """SRA of heads chosen on one group, measured on another; `own` on the diagonal, `shade` its colour bin."""

    value: str
    shade: int
    tip: str
    own: bool


@dataclass(frozen=True)
class TransferMatrix:
    """Groups chosen on (downwards) × groups measured on (rightwards); None where nothing was measured."""

    names: tuple[str, ...]
    rows: tuple[tuple[MatrixCell | None, ...], ...]


def transfer_matrix(result: TransferResult) -> TransferMatrix | None:
    """Return the transfer table as a matrix; None with fewer than three groups, whose rows say as much."""
    names = tuple(dict.fromkeys([r.selected_on for r in result.rows] + [r.reported_on for r in result.rows]))
    if len(names) < 3:
        return None
    cells: dict[tuple[str, str], MatrixCell] = {}
    for r in result.rows:
        if r.best_there is not None:
            heads = head_names(r.best_there_heads)
            cells[r.reported_on, r.reported_on] = _matrix_cell(
                r.reported_on, r.reported_on, r.best_there, heads, r.pairs
            )
    for r in result.rows:
        cells[r.selected_on, r.reported_on] = _matrix_cell(
            r.selected_on, r.reported_on, r.sra, head_names(r.heads), r.pairs
        )
    return TransferMatrix(names, tuple(tuple(cells.get((a, b)) for b in names) for a in names))


def _matrix_cell(chosen_on: str, measured_on: str, sra: Interval, heads: str, pairs: int) -> MatrixCell:
    tip = f"chosen on {chosen_on}: {heads}\nmeasured on {measured_on}\nSRA {written(sra)}, {pairs:,} pairs"
    return MatrixCell(three_digits(sra.value), sra_bin(sra.value), tip, chosen_on == measured_on)


def _signed_digits(value: float) -> str:
    return signed(f"{abs(value):.3f}", value)
