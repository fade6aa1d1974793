"""What `attnpo reproduce --list` shows."""

from __future__ import annotations

import json
from collections.abc import Sequence

from rich.table import Table

from attnpo.cli.methods import extra_cost, words_table
from attnpo.cli.shown import Card, shown_method
from attnpo.errors import ConfigError
from attnpo.study.estimate import cell_minutes
from attnpo.study.sizes import Sizes
from attnpo.study.suite import Row
from attnpo.study.worlds import TINYWORLD, World


def rows_table(rows: Sequence[Row], sizes: Sizes, seeds: int, world: World = TINYWORLD) -> Table:
    """Return one line a row: paper, settings, extra cost."""
    minutes = cell_minutes(sizes, world)
    hours = minutes * seeds * len(rows) / 60
    budget = f"{sizes.max_sampled_tokens:,} sampled tokens" if sizes.max_sampled_tokens else f"{sizes.max_steps} steps"
    title = (
        f"{len(rows)} rows x {seeds} seeds, {budget} each: about {minutes:.1f} minutes a cell, "
        f"{hours:.1f} hours in all of a CPU core of {world.pace.core_gflops:.0f} GFLOPS"
    )
    headings = ("row", "group", "paper", "settings, and what differs from the published ones", "extra cost")
    return words_table(title, headings, map(_cells, rows)).terminal(show_lines=True)


def _cells(row: Row) -> tuple[str, ...]:
    method: Card | None
    preset: Card | None
    lacking = ""
    try:
        method, preset = shown_method(row.method)
    except ConfigError as error:
        method, preset, lacking = None, None, str(error)
    settings = {**({} if preset is None else preset["settings"]), **row.settings}
    lines = [json.dumps(settings)] if settings else []
    lines += [f"{row.heads} heads"] if row.heads != "chosen" else []
    lines += [
        " ".join(f"--{name} {value}" for name, value in more.items()) for more in (row.training, row.evaluation) if more
    ]
    lines += [row.differs] if row.differs else []
    name = row.name if row.method == row.name else f"{row.name}\n({row.method})"
    if method is None:
        return name, row.group, lacking, "\n".join(lines), ""
    paper = method["paper"] if method["arxiv"] is None else f"{method['paper']}\n{method['arxiv']}"
    return name, row.group, paper, "\n".join(lines) or "as published", extra_cost(method)
