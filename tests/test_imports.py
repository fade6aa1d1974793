"""What stands outside the package imports only what the package has."""

from __future__ import annotations

import ast
import importlib
import importlib.util
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FILES = sorted([*(ROOT / "benchmarks").glob("*.py"), *(ROOT / "examples").glob("*.py")])


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_every_imported_name_is_there(path):
    nodes = [node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.ImportFrom)]
    for node in nodes:
        if node.module and node.module.split(".")[0] == "attnpo":
            module = importlib.import_module(node.module)
            names = {alias.name for alias in node.names if not hasattr(module, alias.name)}
            missing = [name for name in names if importlib.util.find_spec(f"{node.module}.{name}") is None]
            assert missing == [], f"line {node.lineno}: {node.module}"
