from __future__ import annotations

from collections import Counter

from byte_tokenizer import byte_tokenizer

from attnpo.coldstart import WorkedProblem, equation_traces, open_think_part, training_rows
from attnpo.coldstart.equations import PER_ROW, QUESTION
from attnpo.gsmworld.equations import find_equations

PROBLEMS = [
    WorkedProblem(
        "?", "?", f"{n} cups x 7 = {7 * n} cups.\nSo {7 * n}+{n}+1=<<{8 * n + 1}>>{8 * n + 1}.", f"{8 * n + 1}"
    )
    for n in range(2, 32)
]
STATED = {(7 * n, (n, 7)) for n in range(2, 32)} | {(8 * n + 1, (7 * n, n, 1)) for n in range(2, 32)}
ROWS = 2 * len(PROBLEMS) // PER_ROW
"""Rows in which each of the problems' equations, two a problem, stands once."""


def equations(text: str) -> list[tuple[int, tuple[int, ...]]]:
    return [(int(e.value), tuple(map(int, e.operands))) for e in find_equations(text.partition("</think>")[0])]


def test_every_equation_of_the_problems_comes_once_before_any_comes_again() -> None:
    _, traces = equation_traces(PROBLEMS, 3 * ROWS)
    for first in range(0, 3 * ROWS, ROWS):
        found = Counter(stated for trace in traces[first : first + ROWS] for stated in equations(trace.text))
        undone = [one for one in found if one not in STATED]
        undone_to = Counter((one[1][0], (one[0], one[1][1])) for one in undone)  # 14/7=2 undoes 2*7=14
        assert found - Counter(undone) + undone_to == Counter(STATED)
        assert 0 < len(undone) < len(PROBLEMS)


def test_all_equations_are_true_and_the_last_one_is_the_answer() -> None:
    asked, traces = equation_traces(PROBLEMS, 20)
    for problem, trace in zip(asked, traces, strict=True):
        think, _, said = trace.text.partition("</think>")
        found = find_equations(think)
        assert len(found) == PER_ROW
        assert all(equation.right for equation in found)
        assert f"\\boxed{{{problem.answer}}}" in said
        assert find_equations(problem.worked)[-1].value == found[-1].value == int(problem.answer)


def test_a_share_stays_true_without_its_percent_sign() -> None:
    half = WorkedProblem("?", "?", "50% of 300 is 300 * 50% = $150.", "150")
    _, traces = equation_traces([half], 2)
    lines = {line for trace in traces for line in trace.text.splitlines() if "=" in line}
    assert lines == {"300 * 50% = $150", "300*50/100=150"}


def test_units_stay_in_some_and_go_in_others() -> None:
    _, traces = equation_traces(PROBLEMS, 20)
    lines = [line for trace in traces for line in trace.text.splitlines() if "=" in line]
    assert any("cups x 7 = " in line for line in lines)
    assert any("*7=" in line for line in lines)


def test_values_alone_are_learnt() -> None:
    tokenizer = byte_tokenizer(adds_bos=False)
    tokenizer.chat_template = "{% for m in messages %}[{{ m['content'] }}]{% endfor %}"
    open_think_part(tokenizer)
    asked, traces = equation_traces(PROBLEMS, 3)
    for row, problem, trace in zip(training_rows(asked, traces, tokenizer), asked, traces, strict=True):
        ids, mask = row["input_ids"], row["completion_mask"]
        assert tokenizer.decode(ids).startswith(f"[{QUESTION}]<think>\n")
        learnt = tokenizer.decode([i for i, keep in zip(ids, mask, strict=True) if keep])
        values = [line.rpartition("=")[2] for line in problem.worked.splitlines()]
        ending = trace.text[trace.text.index("\n</think>") :]
        assert learnt == "\n".join(values) + ending + tokenizer.eos_token


def test_a_seed_gives_the_same_rows() -> None:
    assert equation_traces(PROBLEMS, 4, 3) == equation_traces(PROBLEMS, 4, 3)
    assert equation_traces(PROBLEMS, 4, 3)[1] != equation_traces(PROBLEMS, 4, 4)[1]
    assert equation_traces(PROBLEMS, 0) == ([], [])
