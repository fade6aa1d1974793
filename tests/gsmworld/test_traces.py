from __future__ import annotations

from collections import Counter
from functools import lru_cache

import pytest

pytest.importorskip("reasoning_gym", reason="the problems are reasoning-gym's")

from trivial_rules import Row, ranking_accuracy

from attnpo.gsmworld import TraceStyle, generate_problems, label_steps, write_trace
from attnpo.gsmworld.equations import find_equations, to_number
from attnpo.gsmworld.traces import OPENERS, solution_steps
from attnpo.tinyworld.survey import boxed_answer, paragraph_steps

SHIPPED_SLIP = 0.6
"""Of the traces that the model that ships learnt from."""


@lru_cache(maxsize=3)
def rows_of(grade: str, slip: float | None = None) -> list[list[Row]]:
    style = TraceStyle() if slip is None else TraceStyle(slip=slip)
    traces = []
    for problem in generate_problems("train", 420, 11, grade):  # type: ignore[arg-type]
        text = write_trace(problem.question, problem.worked, problem.solution, style=style).text
        steps = paragraph_steps(text)
        labels = label_steps(problem.question, text, steps)
        traces.append(
            [
                (i, b - a, text[a:b].split()[0], label)
                for i, ((a, b), label) in enumerate(zip(steps, labels, strict=True))
            ]
        )
    return traces


@pytest.mark.parametrize(("grade", "slip"), [("easy", None), ("all", None), ("easy", SHIPPED_SLIP)])
def test_neither_length_nor_place_nor_opener_tells_the_label(grade: str, slip: float | None) -> None:
    traces = rows_of(grade, slip)
    assert 0.35 <= ranking_accuracy(lambda row: row[1], traces) <= 0.65
    assert 0.35 <= ranking_accuracy(lambda row: -row[0], traces) <= 0.65
    half = len(traces) // 2
    counts = Counter((row[2], row[3]) for rows in traces[:half] for row in rows)

    def odds(row: Row) -> float:
        word = row[2] if any(opener.startswith(row[2]) for opener in OPENERS) else ""
        essential, redundant = counts[word, "essential"], counts[word, "redundant"]
        return (essential + 0.5) / (essential + redundant + 1)

    assert ranking_accuracy(odds, traces[half:]) <= 0.65


def test_traces_overthink() -> None:
    labels = Counter(row[3] for rows in rows_of("easy") for row in rows)
    lengths: Counter[str] = Counter()
    for rows in rows_of("easy"):
        for row in rows:
            lengths[row[3]] += row[1]
    assert lengths["redundant"] / lengths.total() >= 0.5
    assert labels["undecided"] / labels.total() < 0.15


def test_every_slip_is_marked_and_mended_and_the_answer_is_right() -> None:
    slips = 0
    for problem in generate_problems("train", 140, 3):
        trace = write_trace(problem.question, problem.worked, problem.solution, seed=2)
        assert boxed_answer(trace.text) == problem.solution
        wrong = [equation for equation in find_equations(trace.text) if not equation.right]
        assert [to_number(trace.text[start:stop]) for start, stop in trace.masked] == [e.value for e in wrong]
        for equation, (_, stop) in zip(wrong, trace.masked, strict=True):
            behind = find_equations(trace.text[stop:])[0]
            assert (behind.operands, behind.right) == (equation.operands, True)
        slips += len(wrong)
    assert slips > 20


def test_without_a_slip_each_step_of_the_solution_is_essential_once() -> None:
    style = TraceStyle(slip=0)
    for problem in generate_problems("heldout", 100, 2):
        text = write_trace(problem.question, problem.worked, problem.solution, style=style).text
        steps = paragraph_steps(text)
        labels = label_steps(problem.question, text, steps)
        values = [e.value for e in find_equations(problem.worked)]
        if len(set(values)) == len(values):
            assert labels.count("essential") == len(solution_steps(problem.worked)), text


def test_calculator_marks_and_connectives_are_dropped() -> None:
    worked = "Natalia sold 48/2 = <<48/2=24>>24 clips in May.\nSo, altogether she sold 48+24 = 72.\n#### 72"
    assert solution_steps(worked) == ["Natalia sold 48/2 = 24 clips in May.", "Altogether she sold 48+24 = 72."]


def test_names_keep_their_capital() -> None:
    trace = write_trace("Ann has 3 apples. How many are 2 more?", "Ann gets 3+2=5 apples.", "5", seed=1)
    assert "ann " not in trace.text
