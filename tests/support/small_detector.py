"""A user's detector of the first answer, as a test's."""

from __future__ import annotations

from collections.abc import Sequence


def after_the_first_word(questions: Sequence[str], thoughts: Sequence[str], solutions: Sequence[str]) -> list[int]:
    """Return the end of the first word of each think part."""
    return [len(thought.split()[0].strip(",.")) for thought in thoughts]
