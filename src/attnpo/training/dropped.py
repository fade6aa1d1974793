"""Prompts that training got nothing from, and why: `dropped.jsonl`."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from attnpo.training.callbacks import keep_rows

TOO_LONG, ALL_RIGHT, ALL_WRONG, EQUAL = "too_long", "all_right", "all_wrong", "equal_rewards"
REWARD_FAILED = "reward_failed"
BEFORE = -1
"""`train_step` of what was dropped before training."""
SHOWN = 200
"""Characters of a prompt that a line shows."""


class DroppedLog:
    """A line a prompt that was dropped: `train_step`, `reason`, `problem_id`, `prompt`, and what else is known.

    Reasons: `too_long` (left out before training), `all_right`, `all_wrong` and `equal_rewards` (the group's outcome
    advantages are zero; a method that credits steps beyond the outcome still learns from it), `reward_failed` (one
    response, no reward of one function).
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def add(self, train_step: int, reason: str, problem_id: str, prompt: Any, **more: Any) -> None:
        """Append one line."""
        row = {"train_step": train_step, "reason": reason, "problem_id": problem_id, "prompt": shown(prompt), **more}
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(row, ensure_ascii=False) + "\n")

    def before_training(self, rows: Iterable[tuple[str, Any, int]]) -> None:
        """Note prompts that are too long, once however often the run goes on.

        Args:
            rows: id, prompt and number of tokens of each.
        """
        keep_rows(self.path, "train_step", lambda step: step != BEFORE)
        for problem_id, prompt, tokens in rows:
            self.add(BEFORE, TOO_LONG, problem_id, prompt, tokens=tokens)


def shown(prompt: Any) -> str:
    """Return the beginning of a prompt, its last message if it is a conversation."""
    if isinstance(prompt, Sequence) and not isinstance(prompt, str) and prompt and isinstance(prompt[-1], Mapping):
        prompt = prompt[-1].get("content")
    text = " ".join(str(prompt).split())
    return text if len(text) <= SHOWN else f"{text[: SHOWN - 1]}…"


def group_reason(correct: Sequence[bool], advantages: Sequence[float]) -> str | None:
    """Return why a group carries no outcome advantage; None where it carries one."""
    if any(advantages):
        return None
    return ALL_RIGHT if all(correct) else EQUAL if any(correct) else ALL_WRONG
