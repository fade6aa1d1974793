"""Data-set factories, usable wherever a `module:function` is asked for."""

from __future__ import annotations

from datasets import Dataset

from attnpo.gsmworld.problems import Grade, Split, columns, generate_problems


def _dataset(split: Split, n: int, seed: int, grade: Grade) -> Dataset:
    return Dataset.from_dict(columns(generate_problems(split, n, seed, grade)))


def train_dataset(n: int = 2000, seed: int = 0, grade: Grade = "easy") -> Dataset:
    """`n` training problems as rows: prompt, solution, problem_id, difficulty, worked_solution, template."""
    return _dataset("train", n, seed, grade)


def heldout_dataset(n: int = 1000, seed: int = 0, grade: Grade = "easy") -> Dataset:
    """`n` problems of the same templates as rows; no training problem is among them, not even renamed."""
    return _dataset("heldout", n, seed, grade)


def unseen_dataset(n: int = 500, seed: int = 0, grade: Grade = "easy") -> Dataset:
    """`n` problems as rows, of templates that no training problem is of."""
    return _dataset("unseen", n, seed, grade)


def all_dataset(split: Split = "heldout", n: int = 1000, seed: int = 0) -> Dataset:
    """`n` problems of all templates, easy and hard; `--split` names train, heldout or unseen."""
    return _dataset(split, n, seed, "all")
