"""Equations alone, as rows to train on: what a small model learns slowly, without the text around it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import islice
from random import Random

from attnpo.coldstart.rows import WorkedProblem
from attnpo.gsmworld.equations import Equation, find_equations, write_number
from attnpo.gsmworld.traces import THINK_END, Trace, plain_solution, undone, without_units

PER_ROW = 20
"""Equations a row."""
QUESTION = f"Write {PER_ROW} true equations, one a line, and put the last result within \\boxed{{}}."

_INVERTED = 0.25
_WITHOUT_UNITS = 0.5


def equation_traces(
    problems: Sequence[WorkedProblem], count: int, seed: int = 0
) -> tuple[list[WorkedProblem], list[Trace]]:
    """Write `count` rows of equations of the problems' worked solutions: as they stand, without units, or undone.

    All equations come once before any comes again. Nothing but their values is learnt, and how a response ends.

    Args:
        problems: problems whose worked solutions read as true equations, at least one.
        count: rows.
        seed: seed of order and forms.

    Returns:
        The rows' problems, all of one prompt, and their traces.
    """
    rng = Random(f"attnpo.coldstart/equations/{seed}")
    solutions = [plain_solution(problem.worked) for problem in problems]
    written = _endless([(equation, text) for text in solutions for equation in find_equations(text)], rng)
    asked, traces = [], []
    for _ in range(count):
        lines = list(islice(written, PER_ROW))
        worked, answer = "\n".join(lines), write_number(find_equations(lines[-1])[-1].value)
        asked.append(WorkedProblem([{"role": "user", "content": QUESTION}], QUESTION, worked, answer))
        traces.append(_trace(lines, answer))
    return asked, traces


def _endless(equations: Sequence[tuple[Equation, str]], rng: Random) -> Iterator[str]:
    """Yield equations of texts, each once in every round, each round in a new order."""
    while True:
        for equation, text in rng.sample(equations, len(equations)):
            inverse = undone(equation)
            if inverse is not None and rng.random() < _INVERTED:
                yield inverse
            elif rng.random() < _WITHOUT_UNITS:
                yield without_units(equation)
            else:
                start, stop = equation.span
                yield text[start:stop]


def _trace(lines: Sequence[str], last: str) -> Trace:
    """Lines as a think part, what stands before their values masked."""
    masked, at = [], 0
    for line in lines:
        masked.append((at, at + line.rindex("=") + 1))
        at += len(line) + 1
    return Trace("\n".join(lines) + THINK_END + f"The final answer is \\boxed{{{last}}}.", tuple(masked))
