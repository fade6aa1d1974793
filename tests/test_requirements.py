"""Every module imports at once only what comes with attnpo, and messages name extras that there are."""

from __future__ import annotations

import ast
import functools
import re
import sys
import tomllib
from importlib.metadata import distribution, packages_distributions
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[1]
SOURCE = ROOT / "src" / "attnpo"


@functools.cache
def brought() -> set[str]:
    """Packages that pip installs with attnpo alone: what it requires, and what these require."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    found: set[str] = set()
    waiting = list(map(Requirement, project["dependencies"]))
    while waiting:
        wanted = waiting.pop()
        name = canonicalize_name(wanted.name)
        if name not in found and (wanted.marker is None or wanted.marker.evaluate({"extra": ""})):
            found.add(name)
            waiting += map(Requirement, distribution(name).requires or ())
    return found


def imported_at_once(tree: ast.AST) -> set[str]:
    """Packages that importing a module imports: not in functions, not for type checking, not where a lack is caught."""
    found: set[str] = set()
    waiting = list(ast.iter_child_nodes(tree))
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.Import):
            found |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module.partition(".")[0])
        elif isinstance(node, ast.ClassDef | ast.With) or (
            isinstance(node, ast.If) and "TYPE_CHECKING" not in ast.unparse(node.test)
        ):
            waiting += node.body
    return found


def test_what_is_imported_at_once():
    tree = ast.parse(
        "import a.b\nif x:\n    from c import d\nif TYPE_CHECKING:\n    import e\ndef f():\n    import g\n"
    )
    assert imported_at_once(tree) == {"a", "c"}


@pytest.mark.parametrize("room", sorted({path.relative_to(SOURCE).parts[0] for path in SOURCE.rglob("*.py")}))
def test_every_module_imports_at_once_what_comes_with_it(room):
    owners = {module: {canonicalize_name(name) for name in names} for module, names in packages_distributions().items()}
    files = (SOURCE / room).rglob("*.py") if (SOURCE / room).is_dir() else [SOURCE / room]
    for path in files:
        used = imported_at_once(ast.parse(path.read_text())) - sys.stdlib_module_names - {"attnpo"}
        lacking = {module for module in used if not owners.get(module, {module}) & brought()}
        assert not lacking, f"{path.relative_to(ROOT)}"


def test_messages_install_extras_that_there_are_from_the_clone():
    """attnpo lies on no index, so `pip install attnpo[...]` would find nothing, or something else."""
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    texts = [path.read_text() for path in SOURCE.rglob("*.py")]
    named = {name for text in texts for name in re.findall(r"install_command\([\"']([\w-]+)", text)}
    assert {"vllm", "peft"} <= named <= extras.keys()
    assert not any(re.search(r"attnpo\[\w", text) for text in texts)
