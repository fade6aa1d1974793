"""Transfer as it is shown: heads chosen on one group of traces, measured on another."""

from __future__ import annotations

from dataclasses import dataclass

from attnpo.discovery.evidence import TransferResult
from attnpo.metrics import SRA
from attnpo.reporting.heads import head_names
from attnpo.reporting.heat import sra_bin
from attnpo.reporting.intervals import Dots, written
from attnpo.reporting.wording import three_digits
from attnpo.statistics import Interval
from attnpo.tables import NOTHING, Column, Number, Row, Table


def transfer_table(result: TransferResult) -> Table:
    """Return SRA of heads chosen on one group and measured on another, in the order of the file.

    The drawing has SRA as a full dot, the measured group's own choice as a hollow one.
    """
    dots = Dots.over([i for r in result.rows for i in (r.sra, r.best_there) if i is not None])
    rows = []
    for r in result.rows:
        same = r.selected_on == r.reported_on
        said = f"chosen on {r.selected_on}, measured on {r.reported_on}"
        cells = (
            r.reported_on,
            Number(r.sra, SRA),
            Number(r.sra_length_matched, SRA),
            NOTHING if r.difference is None else Number(r.difference, SRA, difference=True),
            dots.draw(said, r.sra, None if same else r.best_there, True, ("SRA", "own choice")),
            head_names(r.heads),
            f"{r.pairs:,}",
        )
        rows.append(Row(r.selected_on, cells, css="ours" if same else ""))
    columns = (
        Column("chosen on"),
        Column("measured on", words=True),
        Column("SRA"),
        Column("length-matched"),
        Column("minus own choice"),
        Column("drawing", drawing=True),
        Column("heads", words=True),
        Column("pairs"),
    )
    return Table(columns, tuple(rows))


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
