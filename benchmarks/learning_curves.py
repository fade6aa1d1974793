"""Is a difference between two methods lasting or only faster: lengths against the tokens sampled so far.

Reads the logs of `attnpo reproduce` cells; nothing is run.

    python benchmarks/learning_curves.py --folder runs/reproduce-long --rows attnpo attnpo-tuned --against tlmre \
        --output docs/results/learning_curves

writes OUTPUT.md (means of the training responses in equal spans of sampled tokens, and their difference from the
reference seed by seed) and OUTPUT.png.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path

import numpy as np

from attnpo.errors import AttnPOError, DataError
from attnpo.reporting.curve_panel import Axis, Bound, curve_panel
from attnpo.reporting.figures import save_panels
from attnpo.reporting.marks import key_mark
from attnpo.reporting.palette import ARMS_LIGHT
from attnpo.reporting.panels import Series
from attnpo.reporting.reproduction.costs import SAMPLED, read_cost
from attnpo.statistics import Interval

QUANTITIES = (
    ("attnpo/response_length", "tokens a training response", 1.0),
    ("attnpo/accuracy", "training responses right, %", 100.0),
)
Curves = Mapping[str, Mapping[int, list[float]]]
"""Row → seed → mean in each span; NaN where a run logged nothing."""


def read_curves(folder: Path, rows: Sequence[str], key: str, spans: int, budget: float) -> Curves:
    """Return the mean of a logged quantity in each span of sampled tokens.

    Args:
        folder: the folder of the cells.
        rows: their rows.
        key: what was logged.
        spans: how many equal spans the budget is cut into.
        budget: sampled tokens of a run.

    Raises:
        DataError: a row has no finished cell, or its log lacks the quantity.
    """
    found: dict[str, dict[int, list[float]]] = {}
    for row in rows:
        cells = sorted((folder / row).glob("seed-*/evaluation.json"))
        if not cells:
            raise DataError(f"{folder / row}: no finished cell; run `attnpo reproduce --rows {row}` into this folder")
        for cell in cells:
            log = [line for line in read_cost(cell.parent, 1).log if key in line and SAMPLED in line]
            if not log:
                raise DataError(f"{cell.parent / 'log.jsonl'}: no line with '{key}' and '{SAMPLED}'")
            place = np.minimum([int(spans * line[SAMPLED] / budget) for line in log], spans - 1)
            values = np.array([line[key] for line in log])
            means = [values[place == i].mean() if (place == i).any() else float("nan") for i in range(spans)]
            found.setdefault(row, {})[int(cell.parent.name.removeprefix("seed-"))] = means
    return found


def render(curves: Curves, against: str, title: str, scale: float, budget: float) -> str:
    """Return one table: a line a row, a column a span, and below each row its difference from the reference."""
    spans = len(next(iter(curves[against].values())))
    edges = [f"to {budget * (i + 1) / spans / 1000:,.0f} k" for i in range(spans)]
    lines = [f"| {title} | {' | '.join(edges)} |", f"|---|{'---|' * spans}"]
    for row, seeds in curves.items():
        table = scale * np.array(list(seeds.values()))
        lines.append(f"| {row} | {' | '.join(f'{mean:.1f}' for mean in table.mean(axis=0))} |")
        if row == against:
            continue
        both = sorted(set(seeds) & set(curves[against]))
        difference = scale * np.array([np.subtract(seeds[seed], curves[against][seed]) for seed in both])
        cells = [f"{column.mean():+.1f} ({column.min():+.1f} to {column.max():+.1f})" for column in difference.T]
        lines.append(f"| {row} − {against}, seeds {', '.join(map(str, both))} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def draw(curves: Curves, against: str, budget: float, path: Path) -> Path:
    """Draw the lengths of each row, and their difference from the reference with its range over seeds."""
    axis = Axis("thousand sampled tokens")
    lengths, differences = [], []
    for number, (row, seeds) in enumerate(curves.items()):
        mark, table = key_mark(row, number % len(ARMS_LIGHT)), np.array(list(seeds.values()))
        spans = table.shape[1]
        xs = tuple(budget * (np.arange(spans) + 0.5) / spans / 1000)
        lengths.append(Series(mark, xs, tuple(table.mean(axis=0))))
        if row != against:
            both = sorted(set(seeds) & set(curves[against]))
            gap = np.array([np.subtract(seeds[seed], curves[against][seed]) for seed in both])
            ranges = tuple(Interval(value=c.mean(), low=c.min(), high=c.max()) for c in gap.T)
            differences.append(Series(mark, xs, tuple(i.value for i in ranges), ranges))
    panel = partial(curve_panel, width=460.0, height=300.0, keyed=True)
    panels = [panel("Tokens a training response", lengths, axis)]
    if differences:
        title, note = f"Difference from {against}", "band: range over seeds"
        panels.append(panel(title, differences, axis, bounds=[Bound(0.0, against)], note=note))
    return save_panels(panels, path)


def main() -> None:
    """Read, print and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, required=True, help="folder of `attnpo reproduce`")
    parser.add_argument("--rows", nargs="+", default=["attnpo", "attnpo-tuned"])
    parser.add_argument("--against", default="tlmre", help="the reference row")
    parser.add_argument("--spans", type=int, default=6, help="equal spans of sampled tokens")
    parser.add_argument("--budget", type=float, default=480_000, help="sampled tokens of a run")
    parser.add_argument("--output", type=Path, required=True, help="OUTPUT.md and OUTPUT.png are written")
    args = parser.parse_args()
    rows = [args.against, *(row for row in args.rows if row != args.against)]
    found = [read_curves(args.folder, rows, key, args.spans, args.budget) for key, _, _ in QUANTITIES]
    text = "\n".join(
        render(curves, args.against, title, scale, args.budget)
        for curves, (_, title, scale) in zip(found, QUANTITIES, strict=True)
    )
    print(text)
    args.output.with_suffix(".md").write_text(text, encoding="utf-8")
    draw(found[0], args.against, args.budget, args.output.with_suffix(".png"))


if __name__ == "__main__":
    try:
        main()
    except AttnPOError as error:
        raise SystemExit(f"error: {error}") from error
