"""Answers on which a judge fails: one of them ends no run, a broken installation does."""

from __future__ import annotations

import runpy
from collections.abc import Iterator
from pathlib import Path

import math_verify
import pytest

from attnpo.errors import ConfigError
from attnpo.verification import MathVerifier, math_judge

JUDGES = """
def fails_on_an_answer(response, solution): return 1 / ("odd" not in response) > 0
def fails_on_a_form(text): return "form" if 1 / ("odd" not in text) else ""
def lacks_a_module(response, solution): import no_such_package
"""


@pytest.fixture(autouse=True)
def judges(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "odd_judges.py").write_text(JUDGES)
    (tmp_path / "no_judges.py").write_text("import no_such_package")
    monkeypatch.syspath_prepend(str(tmp_path))


@pytest.fixture(scope="module")
def math() -> Iterator[MathVerifier]:
    with MathVerifier(timeout=30) as verifier:
        yield verifier


def verify(verifier, *pairs: tuple[str, str]) -> list[bool]:
    return verifier.verify(["<think>x</think>" + answer for answer, _ in pairs], [solution for _, solution in pairs])


UNIT_IN_NO_ORDER = [
    r"\boxed{(1, -12i)}",
    r"\boxed{(i, -i)}",
    r"\boxed{[1, i]}",
    r"\boxed{(1,2)\cup(3,i)}",
    r"\boxed{i < 5}",
    r"\boxed{i \le 5, j \ge 3}",
    r"for all $1 \le i \le n$.",
    r"\boxed{\max(i,1)}",
    r"\boxed{\frac{d}{di} i^2}",
    r"\boxed{\cot 0}",
    r"\boxed{\csc 0}",
]


def test_no_answer_of_a_model_fails_the_judge(math, caplog) -> None:
    for solution in ("5", "(1, 2)", r"3i", r"\sqrt{2}", "x < 5"):
        assert verify(math, *((answer, solution) for answer in UNIT_IN_NO_ORDER)) == [False] * len(UNIT_IN_NO_ORDER)
    assert None not in math.answers([f"</think>{answer}" for answer in UNIT_IN_NO_ORDER])
    same = [(r"\boxed{(1, -12i)}", r"(1,\ -6i \cdot 2)"), (r"\boxed{i < 5}", "5 > i"), (r"\boxed{\cot 0}", r"\cot 0")]
    assert verify(math, *same) == [True] * len(same)
    assert "failed" not in caplog.text


def test_where_the_math_judge_fails_the_answer_is_wrong_and_named(monkeypatch, caplog) -> None:
    monkeypatch.setattr("attnpo.verification.math_verifier._JUDGE", "odd_judges:fails_on_an_answer")
    monkeypatch.setattr("attnpo.verification.math_verifier._NORMAL_FORM", "odd_judges:fails_on_a_form")
    answers = [r"\boxed{odd}", r"\boxed{x}", r"\boxed{odder}"]
    with MathVerifier(timeout=30) as verifier:
        assert verify(verifier, *((answer, "x") for answer in answers)) == [False, True, False]
        assert verifier.pool.interrupted == 2
        assert verifier.answers([f"</think>{answer}" for answer in answers]) == ["odd", "form", "odder"]
    verdicts, forms = (record.getMessage() for record in caplog.records)
    assert verdicts.startswith("verifier odd_judges:fails_on_an_answer failed on 2 of 3 answers: counted wrong; the")
    assert r"'\\boxed{odd}', raised ZeroDivisionError: division by zero (odd_judges.py, line" in verdicts
    assert "failed on 2 of 3 answers: without a normal form" in forms


@pytest.mark.parametrize("judge", ["no_judges:same", "odd_judges:lacks_a_module"])
def test_a_broken_installation_is_no_wrong_answer(monkeypatch, judge) -> None:
    monkeypatch.setattr("attnpo.verification.math_verifier._JUDGE", judge)
    with MathVerifier(timeout=30) as verifier, pytest.raises(ConfigError, match="No module named 'no_such_package'"):
        verify(verifier, (r"\boxed{x}", "y"))


def test_a_math_verify_that_reads_nothing_is_refused(monkeypatch) -> None:
    monkeypatch.setattr(math_verify, "parse", lambda *_, **__: [])
    with pytest.raises(ImportError, match="reads no LaTeX"):
        runpy.run_path(math_judge.__file__)
