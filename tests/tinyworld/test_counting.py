from __future__ import annotations

import random

from hypothesis import given
from hypothesis import strategies as st

from attnpo.tinyworld import check_usefulness, count_checks, generate_problems, reference_trace

QUESTION = (
    "Leo has 9 coins. Bob has 2 fewer than Leo. Gus has 3 more than Bob. Ann has 4 more than Bob. "
    "How many coins does Ann have?"
)


def counted(*paragraphs: str, question: str = QUESTION) -> dict[str, int | tuple[int, int]]:
    text, steps = "", []
    for paragraph in paragraphs:
        steps.append((len(text), len(text) + len(paragraph) + 2))
        text += paragraph + "\n\n"
    return count_checks(question, text, steps)


def test_a_clean_derivation() -> None:
    found = counted("Bob has 9-2=7.", "Wait, let me double-check. 7+2=9, yes.", "Ann has 7+4=11.")
    assert found == {
        "checks": 1,
        "useful_checks": 0,
        "useless_checks": 1,
        "useful_check_share": (0, 1),
        "slips": 0,
        "unmended_slips": 0,
        "slips_mended": (0, 0),
    }


def test_a_slip_that_a_check_mends() -> None:
    found = counted("Bob has 9-2=6.", "Hmm, let me verify. 6+2=8, not 9. So Bob has 7.", "Ann has 7+4=11.")
    assert found["useful_check_share"] == (1, 1)
    assert (found["slips"], found["unmended_slips"], found["slips_mended"]) == (1, 0, (1, 1))


def test_a_slip_that_a_new_derivation_mends_is_no_useful_check() -> None:
    found = counted("Bob has 9-2=6.", "Now, Bob has 9-2=7.", "Ann has 7+4=11.")
    assert (found["checks"], found["useful_checks"]) == (0, 0)
    assert found["slips_mended"] == (1, 1)


def test_an_error_spoils_what_stands_on_it() -> None:
    found = counted("Bob has 9-2=6.", "Wait, let me double-check. 6+2=9, yes.", "Ann has 6+4=10.")
    assert (found["checks"], found["useful_checks"]) == (1, 0)
    assert (found["slips"], found["unmended_slips"], found["slips_mended"]) == (2, 2, (0, 2))


def test_a_right_value_spoilt_later_is_a_slip() -> None:
    assert counted("Bob has 9-2=7.", "So Bob has 8.")["unmended_slips"] == 1


def test_what_the_answer_does_not_depend_on_is_no_slip() -> None:
    assert counted("Bob has 9-2=7.", "Gus has 7+3=11.", "Ann has 7+4=11.")["slips"] == 0


def test_no_step_and_no_question_count_nothing() -> None:
    assert set(counted().values()) == {0, (0, 0)}
    assert counted("Bob has 9-2=6.", question="Why?")["slips"] == 0


@given(st.integers(0, 10_000))
def test_reference_traces_end_right_and_agree_with_the_checks(seed: int) -> None:
    problem = generate_problems("train", 1, seed)[0]
    trace = reference_trace(problem, random.Random(seed))
    text = trace if isinstance(trace, str) else trace.text
    start, steps = 0, []
    for paragraph in text.partition("</think>")[0].split("\n\n"):
        steps.append((start, start + len(paragraph)))
        start += len(paragraph) + 2
    found = count_checks(problem.question, text, steps)
    checks = check_usefulness(problem.question, text, steps)
    assert found["checks"] == len(checks)
    assert found["useful_checks"] == sum(check.useful for check in checks)
    assert found["slips"] - found["unmended_slips"] == found["slips_mended"][0]
