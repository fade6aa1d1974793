from __future__ import annotations

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from attnpo.errors import ConfigError
from attnpo.tinyworld import generate_problems, heldout_dataset, train_dataset
from attnpo.tinyworld.problems import VALUES, canonical, parse_question, split_of


def answer_by_words(question: str) -> int:
    """An evaluator of its own: recursion over the sentences, no regular expression of the package."""
    sentences = [s.strip() for s in re.split(r"[.?]", question.removeprefix("Suppose ")) if s.strip()]
    said = {sentence.split()[0]: sentence.split() for sentence in sentences[:-1]}

    def value(name: str) -> int:
        words = said[name]
        if words[3:4] == ["more"]:
            return value(words[5]) + int(words[2])
        if words[3:4] == ["fewer"]:
            return value(words[5]) - int(words[2])
        return int(words[2])

    return value(sentences[-1].split()[4])


def test_answers_are_exact() -> None:
    for problem in [*generate_problems("train", 300, seed=3), *generate_problems("heldout", 300, seed=3)]:
        assert problem.solution == str(answer_by_words(problem.question))


def test_values_stay_in_range_and_difficulty_counts_steps() -> None:
    for problem in generate_problems("train", 200, seed=5, difficulties=(1, 3, 7)):
        assert all(VALUES[0] <= value <= VALUES[1] or problem.facts for value in problem.values.values())
        assert min(problem.values.values()) >= VALUES[0]
        assert max(problem.values.values()) <= VALUES[1]
        assert len(problem.chain) == problem.difficulty + 1


def test_splits_share_no_problem_not_even_renamed() -> None:
    train = {canonical(p.facts, p.target) for p in generate_problems("train", 3000, seed=0)}
    heldout = {canonical(p.facts, p.target) for p in generate_problems("heldout", 1500, seed=0)}
    assert not train & heldout
    assert len(heldout) > 500


def test_renaming_stays_in_the_split() -> None:
    for problem in generate_problems("heldout", 50, seed=9):
        new = {name: f"X{chr(97 + i)}" for i, name in enumerate(problem.values)}
        question = problem.question
        for name, renamed in new.items():
            question = question.replace(name, renamed)
        facts = parse_question(question).facts
        assert split_of(facts, new[problem.target]) == "heldout"


def test_generation_is_seeded_even_and_without_repeats() -> None:
    first = generate_problems("train", 100, seed=1)
    assert first == generate_problems("train", 100, seed=1)
    assert first != generate_problems("train", 100, seed=2)
    assert len({p.question for p in first}) == len({p.id for p in first}) == 100
    assert [sum(p.difficulty == d for p in first) for d in (1, 2, 3, 4, 5)] == [20] * 5


def test_question_text_carries_all_facts() -> None:
    for problem in generate_problems("train", 100, seed=4):
        parsed = parse_question(problem.question)
        assert (parsed.facts, parsed.target) == (problem.facts, problem.target)
        assert parsed.needed == set(problem.chain)


def test_the_answer_never_depends_on_what_was_sold_or_paid() -> None:
    verbs = set()
    for problem in generate_problems("train", 300, seed=6):
        by_name = {fact.name: fact for fact in problem.facts}
        assert {by_name[name].verb for name in problem.chain} == {"has"}
        assert {fact.verb for fact in problem.facts if fact.name not in problem.chain} <= {"sold", "paid"}
        verbs |= {fact.verb for fact in problem.facts}
    assert verbs == {"has", "sold", "paid"}


@given(st.text())
@settings(max_examples=100, deadline=None)
def test_parsing_never_raises(text: str) -> None:
    parse_question(text)


def test_parsing_survives_cycles_and_unknown_names() -> None:
    parsed = parse_question("Ann has 2 more than Bob. Bob has 2 fewer than Ann. How many cards does Zed have?")
    assert parsed.values == {}
    assert parsed.needed == frozenset()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [(("test", 1), "split"), (("train", -1), "n:"), (("train", 1, 0, (0,)), "difficulties")],
)
def test_wrong_arguments_are_named(arguments: tuple, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        generate_problems(*arguments)


def test_dataset_columns() -> None:
    for data in (train_dataset(n=7, seed=2), heldout_dataset(7)):
        assert data.column_names == ["prompt", "solution", "problem_id", "difficulty"]
        row = data[0]
        assert row["prompt"] == [{"role": "user", "content": row["prompt"][0]["content"]}]
        assert row["solution"] == str(answer_by_words(row["prompt"][0]["content"]))
        assert row["difficulty"] in (1, 2, 3, 4, 5)
    assert len(heldout_dataset(7)) == 7
