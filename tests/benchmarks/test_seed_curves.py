"""Runs held against the curve of their own seed, by hand."""

from __future__ import annotations

import importlib
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture
def curves(monkeypatch) -> ModuleType:
    monkeypatch.syspath_prepend(ROOT / "benchmarks")
    return importlib.import_module("seed_curves")


def test_a_run_is_held_against_its_own_seed_at_its_own_length(curves):
    reference = {1: [(120.0, 0.8), (100.0, 0.7)], 2: [(100.0, 0.5), (80.0, 0.4)]}
    runs = {1: [(110.0, 0.80), (90.0, 0.9)], 2: [(85.0, 0.40), (100.0, 0.52)], 3: [(100.0, 1.0)]}
    found = curves.gaps(runs, reference)
    assert found.keys() == {1, 2}  # seed 3 has no curve, and 90 tokens lie beyond that of seed 1
    assert found[1] == pytest.approx([0.05])
    assert found[2] == pytest.approx([-0.025, 0.02])


def test_what_few_seeds_say_is_no_number(curves):
    assert curves.said([0.01]) == "–"
    assert curves.said([0.01, 0.03, 0.02]) == "2.0 [-0.5, 4.5]"
