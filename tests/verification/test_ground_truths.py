"""Real reference answers: each equals itself in a box, and none equals a changed one."""

from __future__ import annotations

import json
import random
from pathlib import Path

import pandas
import pytest

from attnpo.verification import MathVerifier, reference_answer

DATA = Path(__file__).parents[3] / "shared" / "data"
SETS = ["math_4", "olympiadbench_4", "aime2024_16", "aime2025_16", "amc_16", "gsm8k_4"]
AT_MOST = 40


def parquet_answers(name: str) -> list[str]:
    path = DATA / f"{name}.parquet"
    if not path.is_file():
        pytest.skip(f"no {path.name} in ../shared/data")
    rows = pandas.read_parquet(path, columns=["reward_model"])["reward_model"]
    answers = sorted({row["ground_truth"] for row in rows})
    return random.Random(0).sample(answers, min(AT_MOST, len(answers)))


def boxed(answers: list[str]) -> list[str]:
    return [rf"<think>x</think>The answer is $\boxed{{{answer}}}$." for answer in answers]


@pytest.fixture(scope="module")
def math():
    with MathVerifier(timeout=60) as verifier:
        yield verifier


@pytest.mark.parametrize("name", SETS)
def test_every_answer_equals_itself_only(math, name) -> None:
    answers = parquet_answers(name)
    plain = [answer.replace("$", "").rstrip(".") if r"\$" not in answer else answer for answer in answers]
    wrong = [answer for answer, same in zip(answers, math.verify(boxed(plain), answers), strict=True) if not same]
    assert wrong == []
    changed = [f"{answer} + 1" if "=" not in answer else f"{answer} + 7" for answer in plain]
    single = [(c, a) for c, a in zip(changed, answers, strict=True) if a.replace(".", "").lstrip("-").isdigit()]
    assert single
    assert math.verify(boxed([c for c, _ in single]), [a for _, a in single]) == [False] * len(single)


@pytest.mark.parametrize("name", SETS)
def test_no_answer_equals_another(math, name) -> None:
    answers = parquet_answers(name)
    numbers = [a for a in answers if a.replace(".", "", 1).lstrip("-").isdigit()]
    numbers = [a for n, a in enumerate(numbers) if float(a) not in map(float, numbers[:n])]
    shifted = numbers[1:] + numbers[:1]
    assert math.verify(boxed(shifted), numbers) == [False] * len(numbers)


def test_gsm8k_solutions_as_published(math) -> None:
    path = DATA / "gsm8k_test.jsonl"
    if not path.is_file():
        pytest.skip(f"no {path.name} in ../shared/data")
    solutions = [json.loads(line)["answer"] for line in path.read_text(encoding="utf-8").splitlines()]
    answers = [reference_answer(solution) for solution in solutions]
    assert all(math.verify(boxed(answers), solutions))
    changed = [str(int(answer.replace(",", "")) + 1) for answer in answers]
    assert not any(math.verify(boxed(changed), solutions))
