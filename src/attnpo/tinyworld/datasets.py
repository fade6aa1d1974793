"""Data-set factories, usable wherever a `module:function` is asked for."""

from __future__ import annotations

from collections.abc import Sequence

from datasets import Dataset

from attnpo.tinyworld.problems import DIFFICULTIES, Split, columns, generate_problems


def _dataset(split: Split, n: int, seed: int, difficulties: Sequence[int]) -> Dataset:
    return Dataset.from_dict(dict(columns(generate_problems(split, n, seed, difficulties))))


def train_dataset(n: int = 2000, seed: int = 0, difficulties: Sequence[int] = DIFFICULTIES) -> Dataset:
    """`n` training problems as rows: prompt (chat messages), solution, problem_id, difficulty."""
    return _dataset("train", n, seed, difficulties)


def heldout_dataset(n: int = 1000, seed: int = 0, difficulties: Sequence[int] = DIFFICULTIES) -> Dataset:
    """`n` held-out problems as rows; no training problem is among them, not even renamed."""
    return _dataset("heldout", n, seed, difficulties)
