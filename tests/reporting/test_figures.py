"""Figures as PNG."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from attnpo.discovery.result import DiscoveryResult
from attnpo.errors import DataError, OutputError
from attnpo.evaluation.result import EvaluationResult
from attnpo.reporting import save_frontier, save_heatmap

PNG = b"\x89PNG\r\n\x1a\n"


def test_figures_are_written(run_dir: Path, tmp_path: Path) -> None:
    found = DiscoveryResult.model_validate(json.loads((run_dir / "discovery.json").read_text()))
    results = {arm: EvaluationResult.load(run_dir / arm / "evaluation.json") for arm in ("base", "tlmre", "attnpo")}
    assert save_heatmap(found, tmp_path / "a" / "heat.png").read_bytes().startswith(PNG)
    assert save_frontier(results, tmp_path / "b" / "frontier.png").read_bytes().startswith(PNG)
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="cannot write the figure"):
        save_heatmap(found, tmp_path / "file" / "heat.png")


def test_frontier_without_results(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no evaluations"):
        save_frontier({}, tmp_path / "frontier.png")
