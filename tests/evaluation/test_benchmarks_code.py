"""LiveCodeBench: all tests of a problem, public and packed private ones, and packed ones that want more than text."""

from __future__ import annotations

import json
import os
import pickle
from pathlib import Path

import fake_hub
import pytest

import attnpo.hub
from attnpo.errors import DataError
from attnpo.evaluation.benchmarks import load_benchmark
from attnpo.evaluation.benchmarks.code_tests import code_solution, unpack_tests
from attnpo.verification import build_verifier
from attnpo.verification.code.tests import CodeTest, CodeTests

FILES = ["test.jsonl", "test2.jsonl", "test3.jsonl", "test4.jsonl", "test5.jsonl", "test6.jsonl"]
REVISION = "0fe84c3912ea0c4d4a78037083943e8f0c4dd505"


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> fake_hub.FakeHub:
    hub = fake_hub.FakeHub(tmp_path)
    monkeypatch.setattr(attnpo.hub, "load_dataset", hub.load_dataset)
    return hub


def test_all_six_files_with_all_tests(hub: fake_hub.FakeHub) -> None:
    def write(folder: Path) -> None:
        # The script that `datasets` no longer runs stands beside the files.
        (folder / "code_generation_lite.py").write_text("raise RuntimeError")
        for number, file in enumerate(FILES, start=1):
            row = fake_hub.call_row(number) if number % 2 == 0 else fake_hub.stdin_row(number)
            fake_hub.jsonl(folder, file, [row])

    hub.write("livecodebench/code_generation_lite", write)
    entry = load_benchmark("livecodebench-v6").model_copy(update={"num_problems": 6})
    problems = entry.problems()
    sources = [f"hf://datasets/livecodebench/code_generation_lite@{REVISION}/{file}" for file in FILES]
    assert hub.asked == [("json", *sources)]
    assert [problem.problem_id for problem in problems] == ["abc1_a", "2", "abc3_a", "4", "abc5_a", "6"]

    first, second = (CodeTests.model_validate_json(problem.solution) for problem in problems[:2])
    assert first == CodeTests(
        kind="stdin",
        function=None,
        tests=[CodeTest(input="1 2\n", output="3\n"), CodeTest(input="1 5\n", output="6\n")],
        time_limit=6.0,
    )
    assert second == CodeTests(
        kind="call",
        function="total",
        tests=[CodeTest(input="[1, 2]\n3", output="6"), CodeTest(input="[2]\n0", output="2")],
        time_limit=6.0,
    )
    assert [(problem.difficulty, problem.subject) for problem in problems[:2]] == [
        ("easy", "atcoder"),
        ("hard", "leetcode"),
    ]
    assert problems[0].extra["contest_date"].startswith("2023-08-21")
    assert "private" not in json.dumps(problems[0].extra)


def test_the_prompt_says_stdin_or_shows_the_starter_code(tmp_path: Path) -> None:
    fake_hub.jsonl(tmp_path, "rows.jsonl", [fake_hub.stdin_row(1), fake_hub.call_row(2)])
    stdin, call = load_benchmark("livecodebench-v6").problems(data=str(tmp_path / "rows.jsonl"))
    assert (
        "### Question:\nRead two numbers, print their sum (1).\n\n### Format: Read the inputs from stdin"
        in (stdin.prompt[0]["content"])
    )
    assert "```python\n# YOUR CODE HERE\n```\n" in stdin.prompt[0]["content"]
    starter = "```python\nclass Solution:\n    def total(self, xs: List[int], y: int) -> int:\n```\n"
    assert starter in call.prompt[0]["content"]
    assert "stdin" not in call.prompt[0]["content"]


def test_right_and_wrong_programs_through_the_verifier(tmp_path: Path) -> None:
    fake_hub.jsonl(tmp_path, "rows.jsonl", [fake_hub.stdin_row(1), fake_hub.call_row(2)])
    entry = load_benchmark("livecodebench-v6")
    stdin, call = (problem.solution for problem in entry.problems(data=str(tmp_path / "rows.jsonl")))
    method = "class Solution:\n    def total(self, xs, y):\n        return "
    cases = [
        ("a, b = map(int, input().split())\nprint(a + b)", stdin, True),
        ("print(3)", stdin, False),  # right for the public test, wrong for the private one
        (f"{method}sum(xs) + y", call, True),
        (f"{method}6", call, False),
    ]
    with build_verifier(entry.verifier) as verifier:
        responses = [f"<think>\nhm\n</think>\n```python\n{program}\n```" for program, _, _ in cases]
        assert verifier.verify(responses, [tests for _, tests, _ in cases]) == [right for _, _, right in cases]


def test_tests_in_plain_json_and_packed_are_the_same() -> None:
    cases = [{"input": "é\n", "output": "1\n", "testtype": "stdin"}]
    forms = [cases, json.dumps(cases), json.dumps(cases).encode(), fake_hub.packed(cases)]
    assert [unpack_tests(form, "x") for form in forms] == [cases] * 4


def test_long_tests_are_held_packed_and_judge_alike() -> None:
    numbers = " ".join(map(str, range(5000)))
    cases = [{"input": f"{numbers}\n", "output": f"{sum(range(5000))}\n", "testtype": "stdin"}]
    solution = code_solution(json.dumps(cases), "[]", None, 6.0, "x")
    assert len(solution) < len(numbers)
    assert CodeTests.unpack(solution).tests == [CodeTest(input=cases[0]["input"], output=cases[0]["output"])]
    programs = ("print(sum(map(int, input().split())))", "print(1)")
    with build_verifier("code") as verifier:
        responses = [f"</think>\n```python\n{program}\n```" for program in programs]
        assert verifier.verify(responses, [solution] * 2) == [True, False]


class Harm:
    def __init__(self, command: str):
        self.command = command

    def __reduce__(self) -> tuple:
        return os.system, (self.command,)


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_a_packed_column_runs_nothing(tmp_path: Path, protocol: int) -> None:
    trace = tmp_path / "ran"
    harm = pickle.dumps(Harm(f"touch {trace}"), protocol=protocol)
    # It is harm where pickle itself reads it.
    pickle.loads(harm)
    assert trace.exists()
    trace.unlink()
    row = fake_hub.stdin_row(1, private_test_cases=fake_hub.packed(harm))
    fake_hub.jsonl(tmp_path, "rows.jsonl", [row])
    with pytest.raises(DataError, match=r"row 1: private tests: not readable .* asks for \w+.system, only text"):
        load_benchmark("livecodebench-v6").problems(data=str(tmp_path / "rows.jsonl"))
    assert not trace.exists()


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (fake_hub.packed(pickle.dumps([{"input": "1"}])), "it holds list, only text is allowed"),
        (fake_hub.packed(pickle.dumps("not JSON")), "not readable as test cases"),
        (fake_hub.packed(b""), "not readable as test cases"),
        ("@@@", "not readable as test cases"),
        ("", "not readable as test cases"),
        ("[1, 2]", "expected a list of test cases"),
        (None, "not readable as test cases"),
        (float("nan"), "not readable as test cases"),
        ([1, 2], "expected a list of test cases"),
        ({"input": "1"}, "'tests' is an object"),
    ],
)
def test_malformed_columns(value: str | None, message: str) -> None:
    with pytest.raises(DataError, match=message) as caught:
        unpack_tests(value, "rows.jsonl, row 3: private tests")
    assert str(caught.value).startswith("rows.jsonl, row 3: private tests: ")


def test_tests_that_do_not_fit_together() -> None:
    stdin = {"input": "1", "output": "2", "testtype": "stdin"}
    call = {"input": "1", "output": "2", "testtype": "functional"}
    for public, private, metadata, message in [
        ([stdin], [call], "{}", "found functional, stdin"),
        ([], [], "{}", "found no test"),
        ([{**stdin, "testtype": "gui"}], [], "{}", "found gui"),
        ([{**stdin, "output": 2}], [], "{}", "test 1: input and output must be text"),
        ([call], [], "{}", "needs func_name, found None"),
        ([call], [], '{"func_name": "a; b"}', "needs func_name, found 'a; b'"),
        ([call], [], "{", "metadata: not valid JSON"),
        (
            [call, {**call, "input": "x"}],
            [],
            '{"func_name": "f"}',
            "row 1: test 2 of a problem of kind call is not JSON",
        ),
    ]:
        with pytest.raises(DataError, match=message):
            code_solution(json.dumps(public), json.dumps(private), metadata, 6.0, "row 1")
