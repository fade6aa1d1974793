"""Counting whatever a user's own function finds in responses: checks, citations, tool calls, …

A counter is `(question, response, steps) -> counts`, with the arguments of a labeler function: question and response as
text, steps as character spans of the response. A count is a number, summed up as a mean a response, or a pair
`(n, of)`, summed up as the share n / of, pooled over responses.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Protocol

from attnpo.errors import DataError
from attnpo.loading import load_function
from attnpo.metrics import COUNT
from attnpo.rollouts import Rollout, Span, prompt_text

OF = "of:"
"""Prefixes of the columns of a `ProblemTable` that hold a count and, for shares, what it is a share of."""


class Counter(Protocol):
    """Counts things in a response."""

    def __call__(
        self, question: str, response: str, steps: Sequence[Span]
    ) -> Mapping[str, float | tuple[float, float]]:
        """Return name → count, or (n, of); the same names for every response."""
        ...


def load_counter(spec: str) -> Counter:
    """Return the counter that a `module:function` spec names.

    Raises:
        ConfigError: there is no such function, or it takes other arguments.
    """
    return load_function(spec, "counter", ("question", "response", "steps"))


def count_columns(counter: Counter, rollout: Rollout) -> dict[str, float]:
    """Return what a counter finds in one response as columns of a `ProblemTable`.

    Raises:
        DataError: the counter's answer is malformed.
    """
    spans = [step.chars for step in rollout.steps]
    counts = counter(prompt_text(rollout.prompt), rollout.response, spans)
    where = f"counter, problem {rollout.problem_id!r}, sample {rollout.sample}"
    if not isinstance(counts, Mapping):
        raise DataError(f"{where}: returned {type(counts).__name__}; return a mapping from names to counts")
    columns: dict[str, float] = {}
    for name, count in counts.items():
        if not isinstance(name, str) or not name.isidentifier():
            raise DataError(f"{where}: {name!r} is no name for a count; use letters, digits and underscores")
        parts = tuple(count) if isinstance(count, (tuple, list)) else (count,)
        if len(parts) > 2 or not all(_is_count(part) for part in parts):
            raise DataError(f"{where}: {name} is {count!r}; return a number of at least 0, or two as (n, of)")
        columns |= {f"{prefix}{name}": float(part) for prefix, part in zip((COUNT, OF), parts, strict=False)}
    return columns


def _is_count(value: object) -> bool:
    return isinstance(value, (int, float)) and math.isfinite(value) and value >= 0
