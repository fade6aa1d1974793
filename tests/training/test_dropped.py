from __future__ import annotations

import json

import pytest

from attnpo.training.dropped import DroppedLog, group_reason, shown


@pytest.mark.parametrize(
    ("correct", "advantages", "reason"),
    [
        ([True, True], [0.0, 0.0], "all_right"),
        ([False, False], [0.0, 0.0], "all_wrong"),
        ([True, False], [0.0, 0.0], "equal_rewards"),
        ([True, True], [0.1, -0.1], None),
    ],
)
def test_why_a_group_teaches_nothing(correct, advantages, reason):
    assert group_reason(correct, advantages) == reason


def test_a_line_names_the_prompt_and_the_reason(tmp_path):
    log = DroppedLog(tmp_path / "dropped.jsonl")
    log.add(3, "too_long", "p7", [{"role": "user", "content": "why\n" + "x" * 500}], tokens=900)
    row = json.loads((tmp_path / "dropped.jsonl").read_text())
    assert row == {
        "train_step": 3,
        "reason": "too_long",
        "problem_id": "p7",
        "prompt": "why " + "x" * 195 + "…",
        "tokens": 900,
    }
    assert shown("a b") == "a b"


def test_prompts_that_are_too_long_are_named_once_however_often_a_run_goes_on(tmp_path):
    log = DroppedLog(tmp_path / "dropped.jsonl")
    for _ in range(2):
        log.before_training([("p1", "long", 900), ("p2", "longer", 950)])
        log.add(4, "all_wrong", "p3", "hard")
    rows = [json.loads(line) for line in log.path.read_text().splitlines()]
    assert [(row["train_step"], row["problem_id"]) for row in rows] == [(4, "p3"), (-1, "p1"), (-1, "p2"), (4, "p3")]
    assert rows[1] == {"train_step": -1, "reason": "too_long", "problem_id": "p1", "prompt": "long", "tokens": 900}
