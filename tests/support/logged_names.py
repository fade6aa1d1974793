"""The names that docs/logged.md has in its tables."""

from __future__ import annotations

import re
from itertools import product
from pathlib import Path

PAGE = Path(__file__).parents[2] / "docs" / "logged.md"


def documented_names() -> set[str]:
    """Return every name that begins with `attnpo/`, `{a,b}` written out."""
    cells = re.findall(r"^\| `(attnpo/[^`]+)` \|", PAGE.read_text(encoding="utf-8"), re.MULTILINE)
    return {name for cell in cells for name in _written_out(cell)}


def _written_out(cell: str) -> list[str]:
    parts = [part[1:-1].split(",") if part.startswith("{") else [part] for part in re.split(r"(\{.*?\})", cell)]
    return ["".join(words) for words in product(*parts)]
