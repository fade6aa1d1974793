"""Which steps the audit of credit takes for slips and for what mends them, by hand."""

from __future__ import annotations

import importlib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
QUESTION = "Leo has 9 coins. Bob has 2 fewer than Leo. Ann has 4 more than Bob. How many coins does Ann have?"


@pytest.fixture
def mending(monkeypatch):
    monkeypatch.syspath_prepend(ROOT / "benchmarks")
    steps_of = importlib.import_module("audit_responses").mending_steps

    def found(*paragraphs: str) -> dict[str, list[int]]:
        text, spans = "", []
        for paragraph in paragraphs:
            spans.append((len(text), len(text) + len(paragraph) + 2))
            text += paragraph + "\n\n"
        return steps_of(QUESTION, text, spans)

    return found


def test_a_derivation_mends_what_was_misread(mending):
    steps = ("So Bob has 9 coins.", "Hold on, Bob has 9-2=7.", "So Ann has 7+4=11.")
    assert mending(*steps) == {"value_mended_later": [0], "value_left_wrong": [], "mending_derivation": [1]}


def test_a_check_that_mends_is_no_derivation(mending):
    steps = ("So Bob has 9-2=6.", "Let me double check: 6+2=8, not 9, so Bob has 7.", "So Ann has 7+4=11.")
    found = mending(*steps)
    assert (found["value_mended_later"], found["mending_derivation"]) == ([0], [])


def test_what_stays_wrong_is_left_and_all_that_said_it_counts(mending):
    steps = ("So Bob has 9-2=7.", "So Ann has 7+4=12.", "Thus Ann has 12.", "Cal has 3 coins.")
    assert mending(*steps) == {"value_mended_later": [], "value_left_wrong": [1, 2], "mending_derivation": []}
