"""How a folder was made is written down wherever the package runs from."""

from __future__ import annotations

import json
from importlib import metadata

import pytest

from attnpo import about
from attnpo.training import record


@pytest.fixture
def not_installed(monkeypatch):
    """Runs from a checkout on `PYTHONPATH`: pip knows nothing of attnpo."""
    found = metadata.version

    def version(name):
        if name == "attnpo":
            raise metadata.PackageNotFoundError(name)
        return found(name)

    monkeypatch.setattr(metadata, "version", version)


def test_a_folder_says_how_it_was_made_where_pip_installed_nothing(tmp_path, not_installed):
    about.write_about(tmp_path, "train", ["--max_steps", 3])
    content = json.loads((tmp_path / "run.json").read_text())
    assert content["command"] == "attnpo train --max_steps 3"
    assert content["versions"] == {
        "attnpo": "unknown",
        **{name: metadata.version(name) for name in ("torch", "transformers", "trl", "accelerate")},
    }


def test_versions_of_what_is_there(not_installed):
    assert about.installed_version("attnpo") is None
    assert about.versions(["attnpo", "torch", "no-such-package"]) == {
        "attnpo": "unknown",
        "torch": metadata.version("torch"),
    }
    assert about.versions(record.PACKAGES)["attnpo"] == "unknown"
