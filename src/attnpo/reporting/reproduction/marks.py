"""How the rows of a large table are drawn: a colour and a shape a group, the row's name beside its point."""

from __future__ import annotations

from collections.abc import Mapping

from attnpo.reporting.marks import ArmMark
from attnpo.reporting.reproduction.table import TableRow
from attnpo.reporting.wording import plural

KINDS = ("base", "attnpo", "tlmre", "main", "ablation", "control", "bound", "options")
"""Kind → index of colour and shape; TLMRE, AttnPO without step credit, stands apart from the other methods."""
KIND_TITLES = {
    "base": "Starting model",
    "attnpo": "AttnPO",
    "tlmre": "TLMRE",
    "main": "Published methods",
    "ablation": "Ablations",
    "control": "Controls",
    "bound": "Bounds",
    "options": "Options",
}

GROUPS: Mapping[str, str] = {
    "base": "start",
    "main": "published methods",
    "newer": "newer published methods",
    "attnpo": "AttnPO",
    "ablation": "ablations",
    "control": "controls",
    "bound": "bounds, which take the truth",
    "options": "options",
    "hypotheses": "hypotheses",
}
_LIKE = {"newer": "main", "hypotheses": "options"}
"""Groups that are drawn as others are."""


def kind_of(row: TableRow) -> str:
    """Return which kind of row it is."""
    return "tlmre" if row.name.startswith("tlmre") else _LIKE.get(row.group, row.group)


def row_mark(row: TableRow) -> ArmMark:
    """Return how a row is drawn; its own name is what buttons toggle."""
    kind = kind_of(row)
    title = KIND_TITLES["base"] if kind == "base" else row.name
    runs = "" if kind == "base" else f", {plural(row.comparison.runs, 'run')}"
    return ArmMark(row.name, row.name, title, GROUPS.get(row.group, row.group) + runs, KINDS.index(kind))
