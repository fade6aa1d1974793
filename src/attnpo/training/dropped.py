"""Prompts that training got nothing from, and why: `dropped.jsonl`."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from attnpo.errors import ConfigError, DataError

TOO_LONG, ALL_RIGHT, ALL_WRONG, EQUAL = "too_long", "all_right", "all_wrong", "equal_rewards"
REWARD_FAILED, SKIPPED = "reward_failed", "update_skipped"
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


def split_by_length(lengths: Sequence[int], limit: int) -> tuple[list[int], list[int]]:
    """Return the rows whose prompts are at most `limit` tokens long, and the others.

    Raises:
        ConfigError: the limit is not positive.
        DataError: no row is left.
    """
    if limit < 1:
        raise ConfigError(f"max_prompt_tokens: {limit} is below 1; leave it out for no limit")
    kept = [row for row, length in enumerate(lengths) if length <= limit]
    if not kept:
        raise DataError(
            f"train_dataset: all {len(lengths)} prompts are longer than max_prompt_tokens={limit} (the shortest has "
            f"{min(lengths, default=0)}); raise it"
        )
    return kept, [row for row, length in enumerate(lengths) if length > limit]
