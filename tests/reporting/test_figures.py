"""Figures as PNG."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from run_folders import ARMS, discovery, intervention, sampled_evaluation, stability

from attnpo.discovery.evidence import InterventionResult, StabilityResult
from attnpo.discovery.result import DiscoveryResult
from attnpo.errors import DataError, OutputError
from attnpo.evaluation.result import EvaluationResult
from attnpo.reporting import (
    save_ensemble_curves,
    save_frontier,
    save_frontiers,
    save_heatmap,
    save_intervention,
    save_stability,
)

PNG = b"\x89PNG\r\n\x1a\n"


def found(**more: Any) -> DiscoveryResult:
    return DiscoveryResult.model_validate(discovery(**more))


def results(make: Callable[[str], dict] = sampled_evaluation) -> dict[str, EvaluationResult]:
    return {name: EvaluationResult.model_validate(make(name)) for name in ARMS}


def checkpoints() -> StabilityResult:
    content = stability(steps=2)
    for point in content["points"]:
        point |= {"step": None, "sra_length_matched": None, "pearson_within": None}
    return StabilityResult.model_validate(content)


def with_holes() -> DiscoveryResult:
    grid = [[None] * 14 if layer % 3 == 0 else [0.5 + 0.02 * layer] * 14 for layer in range(20)]
    return found(num_layers=20, num_heads=14, sra_select=grid, sra_report=grid, relative_attention=[], chosen=[(1, 13)])


@pytest.mark.parametrize(
    ("save", "what"),
    [
        (save_heatmap, found),
        (save_heatmap, with_holes),
        (save_ensemble_curves, found),
        (save_intervention, lambda: InterventionResult.model_validate(intervention())),
        (save_stability, lambda: StabilityResult.model_validate(stability())),
        (save_stability, checkpoints),
        (save_frontier, results),
        (save_frontiers, lambda: {"gsm8k": results(), "aime24": results(), "empty": {}}),
    ],
)
def test_figures_are_written(tmp_path: Path, save: Callable[..., Path], what: Callable[[], Any]) -> None:
    path = save(what(), tmp_path / "new" / "figure.png")
    assert path.read_bytes().startswith(PNG)
    assert len(path.read_bytes()) > 8000  # more than empty axes


def test_unwritable_file(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="cannot write the figure"):
        save_heatmap(found(), tmp_path / "file" / "heat.png")


@pytest.mark.parametrize(
    ("save", "what", "message"),
    [
        (save_frontier, {}, "no evaluations"),
        (save_frontiers, {"gsm8k": {}}, "no evaluations"),
        (save_ensemble_curves, found(greedy=[], top=[]), "no ensembles"),
        (save_intervention, InterventionResult.model_validate(intervention(conditions=[])), "removed anything"),
        (save_stability, StabilityResult.model_validate(stability(points=[])), "no points"),
    ],
)
def test_nothing_to_draw_is_said(tmp_path: Path, save: Callable[..., Path], what: Any, message: str) -> None:
    with pytest.raises(DataError, match=message):
        save(what, tmp_path / "figure.png")
    assert not list(tmp_path.iterdir())
