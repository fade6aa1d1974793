"""reasoning-gym: problems that its own scorers judge."""

from __future__ import annotations

import pytest

from attnpo.errors import ConfigError
from attnpo.evaluation.benchmarks import load_benchmark

reasoning_gym = pytest.importorskip("reasoning_gym", reason="the problems are reasoning-gym's")

from attnpo.verification import build_verifier  # noqa: E402
from attnpo.verification.gym import decode_solution, encode_solution, is_correct, stated_answer  # noqa: E402

# Tuples and numbers as keys in the entry; any valid answer counts; a plain number; a grid.
TASKS = ["graph_color", "arc_1d", "countdown", "leg_counting", "mini_sudoku", "knights_knaves"]


def answered(answer: str) -> str:
    return f"<think>\nhm\n</think>\nSo it is <answer>{answer}</answer>."


@pytest.mark.parametrize("task", TASKS)
def test_an_entry_comes_back_as_it_was_and_scores_as_there(task: str) -> None:
    dataset = reasoning_gym.create_dataset(task, size=4, seed=3)
    problems = load_benchmark(f"reasoning-gym:{task}").problems(limit=4, seed=3)
    assert len(problems) == 4
    for number, problem in enumerate(problems):
        entry = dataset[number]
        assert decode_solution(problem.solution) == (task, {}, entry)
        assert problem.prompt[0]["content"].startswith(entry["question"].strip())
        for answer in (str(entry["answer"]), "0", "nonsense ((", ""):
            assert is_correct(answered(answer), problem.solution) == (dataset.score_answer(answer, entry) >= 1)


def test_a_right_answer_is_right_through_the_verifier_and_a_wrong_one_is_not() -> None:
    entry = load_benchmark("reasoning-gym:leg_counting")
    problems = entry.problems(limit=3)
    answers = [decode_solution(problem.solution)[2]["answer"] for problem in problems]
    solutions = [problem.solution for problem in problems]
    with build_verifier(entry.verifier, timeout=60) as verifier:
        assert verifier.verify([answered(answer) for answer in answers], solutions) == [True] * 3
        assert verifier.verify([answered(str(int(answer) + 1)) for answer in answers], solutions) == [False] * 3
        assert verifier.verify([f"<think><answer>{answer}</answer>" for answer in answers], solutions) == [False] * 3


def test_a_majority_vote_counts_the_stated_answers() -> None:
    ways = ["so <answer>26</answer>", "It is <answer> 26 </answer>.", r"\boxed{26}", "<answer>25</answer>", "26"]
    with build_verifier(load_benchmark("reasoning-gym:leg_counting").verifier, timeout=60) as verifier:
        votes = verifier.answers([f"<think>x</think>{way}" for way in ways])
    assert votes == ["26", "26", "26", "25", None]


def test_what_counts_as_the_answer() -> None:
    assert stated_answer("<think>\n<answer>1</answer></think> <answer> 2\n3 </answer> or <answer>4</answer>") == "4"
    assert stated_answer("<think>\n</think> so \\boxed{5}") == "5"
    assert stated_answer("<think>\n</think> five") is None
    assert stated_answer("<think><answer>1</answer>") is None
    assert stated_answer("So <answer>1</answer>") == "1"


def test_values_that_json_does_not_tell_apart() -> None:
    entry = {"a": (1, [2, (3,)]), 4: {"$tuple": "x"}, "n": None, "f": 0.1, "$dict": {(1, 2): True}}
    assert decode_solution(encode_solution("t", {}, entry))[2] == entry


def test_settings_of_the_generator_reach_problem_and_scorer() -> None:
    entry = load_benchmark("reasoning-gym:leg_counting")
    narrow = entry.model_copy(update={"params": {**entry.params, "min_animals": 1, "max_animals": 1}})
    problems = narrow.problems(limit=5)
    assert all(len(decode_solution(problem.solution)[2]["metadata"]["animals"]) == 1 for problem in problems)
    assert decode_solution(problems[0].solution)[1] == {"min_animals": 1, "max_animals": 1}
    refused = entry.model_copy(update={"params": {**entry.params, "colour": 3}})
    with pytest.raises(ConfigError, match=r"leg_counting refuses its settings .*colour"):
        refused.problems(limit=1)


def test_seed_and_number() -> None:
    entry = load_benchmark("reasoning-gym:gcd")
    problems = entry.problems(limit=30)
    assert problems == entry.problems(limit=30)
    assert problems[:10] == entry.problems(limit=10)
    assert [p.solution for p in problems] != [p.solution for p in entry.problems(limit=30, seed=1)]
    assert entry.context()["revision"].startswith("reasoning-gym ")


def test_tasks_there_are_not_and_tasks_that_differ_between_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConfigError, match="no task 'leg_count'; did you mean leg_counting"):
        load_benchmark("reasoning-gym:leg_count").problems()
    monkeypatch.delenv("PYTHONHASHSEED", raising=False)
    with pytest.raises(ConfigError, match="set the environment variable PYTHONHASHSEED=0"):
        load_benchmark("reasoning-gym:ransom_note").problems(limit=1)
    monkeypatch.setenv("PYTHONHASHSEED", "0")
    assert len(load_benchmark("reasoning-gym:ransom_note").problems(limit=2)) == 2
