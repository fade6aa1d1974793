"""The oracle against a reader of eighty responses of cold-started SmolLM2s, right and wrong ones as they came.

The first forty are of an earlier model and were read beside the oracle's labels; the last forty, of the model that
ships, without them.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from attnpo.gsmworld import label_steps

ROWS = [json.loads(line) for line in Path(__file__).with_name("hand_counted.jsonl").read_text().splitlines()]
DIFFERENT = {
    (25, 3): "'Checking: 21/3=7' comes to a number of the question, which is needed",
    (30, 6): "the 2 of an average is no number of the question, so nothing unused is sure to be redundant",
    (35, 0): "'two questions here: 1)' states numbers",
    (63, 0): "'24 girl(3 boys/girl) + 3 boys = 27' is not read as an equation",
    (63, 1): "so the check behind it states the value first",
}
"""(row, step) where the oracle says otherwise, and why."""


def labels(row: dict) -> str:
    steps = [(start, stop) for start, stop in row["steps"]]
    return "".join(label[0] for label in label_steps(row["question"], row["response"], steps))


@pytest.mark.parametrize("number", range(len(ROWS)))
def test_it_says_what_a_person_says(number):
    found, read = labels(ROWS[number]), ROWS[number]["labels"]
    assert len(found) == len(read)
    assert {(number, k) for k in range(len(read)) if found[k] != read[k]} == {p for p in DIFFERENT if p[0] == number}


def test_it_decides_most_steps():
    found = "".join(map(labels, ROWS))
    assert len(ROWS) == 80
    assert found.count("u") / len(found) < 0.06
