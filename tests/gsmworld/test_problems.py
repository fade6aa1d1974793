from __future__ import annotations

from collections import Counter

import pytest

pytest.importorskip("reasoning_gym", reason="the problems are reasoning-gym's")

from attnpo.errors import ConfigError
from attnpo.gsmworld.equations import find_equations, find_numbers, to_number
from attnpo.gsmworld.problems import (
    EASY,
    EASY_LARGEST,
    EASY_UNSEEN,
    OTHERS,
    OTHERS_UNSEEN,
    Problem,
    generate_problems,
    split_of,
)


def key(problem: Problem) -> tuple[object, ...]:
    return problem.template, *find_numbers(problem.question)


def test_a_seed_gives_the_same_problems() -> None:
    assert generate_problems("train", 30, 4) == generate_problems("train", 30, 4)
    assert generate_problems("train", 30, 4) != generate_problems("train", 30, 5)


def test_no_held_out_problem_is_a_training_problem_renamed() -> None:
    train = {key(problem) for problem in generate_problems("train", 400)}
    heldout = {key(problem) for problem in generate_problems("heldout", 200)}
    assert not train & heldout


def test_unseen_templates_are_in_no_other_split() -> None:
    assert not set(EASY_UNSEEN + OTHERS_UNSEEN) & set(EASY + OTHERS)
    assert {problem.template for problem in generate_problems("unseen", 40)} <= set(EASY_UNSEEN)
    assert {problem.template for problem in generate_problems("heldout", 60)} == set(EASY)
    assert split_of(EASY_UNSEEN[0], [to_number("3")]) == "unseen"


@pytest.mark.parametrize("grade", ["easy", "all"])
def test_worked_solutions_are_true_and_come_to_the_answer(grade: str) -> None:
    problems = generate_problems("train", 140, grade=grade)  # type: ignore[arg-type]
    for problem in problems:
        equations = find_equations(problem.worked)
        assert all(equation.right for equation in equations), problem
        assert equations[-1].value == to_number(problem.solution)
        assert len({problem.id for problem in problems}) == len(problems)
        if grade == "easy":
            assert 1 <= problem.difficulty <= 3
            assert max(n for e in equations for n in e.numbers) <= EASY_LARGEST


def test_templates_come_evenly() -> None:
    counts = Counter(problem.template for problem in generate_problems("train", 140))
    assert set(counts.values()) == {10}


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("test", 3), "split: expected 'train', 'heldout' or 'unseen', got 'test'"),
        (("train", -1), "n: expected a number of problems of at least 0, got -1"),
        (("train", 3, 0, "hard"), "grade: expected 'easy' or 'all', got 'hard'"),
    ],
)
def test_what_cannot_be_made_is_refused(arguments: tuple[object, ...], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        generate_problems(*arguments)  # type: ignore[arg-type]
