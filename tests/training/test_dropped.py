from __future__ import annotations

import json

import pytest

from attnpo.errors import ConfigError, DataError
from attnpo.training.dropped import DroppedLog, group_reason, shown, split_by_length


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


def test_prompts_over_the_limit_go_and_those_at_it_stay():
    assert split_by_length([5, 9, 10, 11], 10) == ([0, 1, 2], [3])
    with pytest.raises(DataError, match=r"all 2 prompts are longer than max_prompt_tokens=4 \(the shortest has 5\)"):
        split_by_length([5, 9], 4)
    with pytest.raises(ConfigError, match="max_prompt_tokens: 0"):
        split_by_length([5], 0)
