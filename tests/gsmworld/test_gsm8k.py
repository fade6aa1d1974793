"""Human solutions, with their calculator marks, through the same traces and oracle."""

from __future__ import annotations

import json
from collections import Counter
from itertools import islice
from pathlib import Path

import pytest

from attnpo.gsmworld import label_steps, write_trace
from attnpo.gsmworld.equations import find_equations, to_number
from attnpo.gsmworld.problems import reads_true
from attnpo.gsmworld.traces import plain_solution
from attnpo.tinyworld.survey import boxed_answer, paragraph_steps

FILE = Path(__file__).parents[3] / "shared" / "data" / "gsm8k_train.jsonl"

pytestmark = pytest.mark.skipif(not FILE.is_file(), reason=f"no {FILE.name} in ../shared/data")


def test_most_solutions_become_traces_that_the_oracle_can_read() -> None:
    labels: Counter[str] = Counter()
    read = 0
    with FILE.open(encoding="utf-8") as file:
        rows = [json.loads(line) for line in islice(file, 500)]
    for row in rows:
        answer = row["answer"].rpartition("####")[2].strip()
        if not reads_true(plain_solution(row["answer"]), to_number(answer)):
            continue
        read += 1
        text = write_trace(row["question"], row["answer"], answer).text
        assert "<<" not in text
        assert "####" not in text
        assert to_number(boxed_answer(text) or "0") == to_number(answer)
        labels.update(label_steps(row["question"], text, paragraph_steps(text)))
    assert read / len(rows) > 0.75
    assert labels["undecided"] / labels.total() < 0.15


def test_calculator_marks_agree_with_the_equations_beside_them() -> None:
    with FILE.open(encoding="utf-8") as file:
        row = json.loads(file.readline())
    assert [e.left for e in find_equations(plain_solution(row["answer"]))] == ["48/2", "48+24"]
