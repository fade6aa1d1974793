"""The floors of docs/architecture.md hold: a room imports lower floors only, its own floor against no circle."""

from __future__ import annotations

import ast
import re
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SOURCE = ROOT / "src" / "attnpo"


def floors() -> dict[str, int]:
    rows = re.findall(r"^\| (\d) \| (`.*?) \|", (ROOT / "docs" / "architecture.md").read_text(), re.MULTILINE)
    return {room: int(floor) for floor, rooms in rows for room in re.findall(r"`(\w+)`", rooms)}


def imports() -> dict[str, set[str]]:
    """Room -> rooms that its files import, for type checking too."""
    found: dict[str, set[str]] = {}
    for path in SOURCE.rglob("*.py"):
        room = path.relative_to(SOURCE).parts[0].removesuffix(".py")
        nodes = [node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.ImportFrom)]
        modules = [node.module.split(".") for node in nodes if node.module and node.module.startswith("attnpo.")]
        found.setdefault(room, set()).update(module[1] for module in modules if module[1] != room)
    return found


def test_no_room_imports_upward_or_in_a_circle():
    floor, used = floors(), imports()
    outside = {"__init__", "__main__"}
    assert used.keys() - outside == floor.keys()
    assert [f"{a} imports {b}" for a in used for b in used[a] if a not in outside and floor[b] > floor[a]] == []
    TopologicalSorter(used).prepare()  # raises CycleError, which names the circle


@pytest.mark.parametrize("room", ["cli", "study", "workbench"])
def test_files_of_a_room_import_each_other_in_no_circle(room):
    """For type checking too: a circle behind `TYPE_CHECKING` is one."""
    files = {path.stem: path for path in (SOURCE / room).rglob("*.py") if path.stem != "__init__"}
    found: dict[str, set[str]] = {}
    for name, path in files.items():
        nodes = [node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.ImportFrom)]
        names = {module for node in nodes for module in _files_of(node, f"attnpo.{room}")}
        found[name] = names & files.keys()
    TopologicalSorter(found).prepare()


def _files_of(node: ast.ImportFrom, package: str) -> set[str]:
    if node.module == package:
        return {alias.name for alias in node.names}
    return {node.module.rpartition(".")[2]} if (node.module or "").startswith(f"{package}.") else set()
