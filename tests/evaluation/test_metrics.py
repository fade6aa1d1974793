from __future__ import annotations

from dataclasses import replace

import pytest

from attnpo.evaluation.metrics import METRICS, measure, summarize, summarize_by_difficulty
from attnpo.rollouts import Rollout, Step

STEPS = (
    Step((0, 4), (0, 3), label="essential"),
    Step((4, 9), (3, 10), label="redundant"),
    Step((9, 12), (10, 12), label="undecided"),
    Step((12, 12), (12, 12), label="redundant"),
)
ROLLOUT = Rollout(
    problem_id="a",
    prompt="q",
    solution="1",
    sample=0,
    response_ids=tuple(range(20)),
    response="some text",
    finished=True,
    correct=True,
    steps=STEPS,
    answer_tokens=(13, 19),
    difficulty="2",
)


def count(text):
    assert text == "some text"
    return {"confused": 2, "summary": 1}


def test_the_numbers_of_one_response():
    measured = measure(ROLLOUT, count)
    assert dict(zip(METRICS, measured.numerators, strict=True)) == {
        "accuracy": 1,
        "response_tokens": 20,
        "think_tokens": 12,
        "answer_tokens": 6,
        "steps": 4,
        "truncated": 0,
        "confused_phrases": 2,
        "progression_phrases": 0,
        "summary_phrases": 1,
        "essential_steps": 1,
        "redundant_steps": 2,
        "undecided_steps": 1,
        "redundant_token_share": 7,
    }
    assert measured.denominators.tolist() == [1] * 12 + [12]
    assert (measured.problem_id, measured.difficulty, measured.labelled) == ("a", "2", True)


def test_an_unverified_unfinished_response_is_wrong_and_truncated():
    measured = measure(replace(ROLLOUT, correct=None, finished=False, steps=(), answer_tokens=(20, 20)), count)
    numbers = dict(zip(METRICS, measured.numerators, strict=True))
    assert (numbers["accuracy"], numbers["truncated"], numbers["answer_tokens"]) == (0, 1, 0)
    assert measured.labelled


def test_summary_pools_responses_and_tokens():
    other = replace(ROLLOUT, problem_id="b", correct=False, steps=STEPS[:1], response_ids=tuple(range(10)))
    summary = summarize([measure(r, count) for r in (ROLLOUT, ROLLOUT, other)])
    assert summary.num_responses == 3
    assert summary.accuracy.value == pytest.approx(2 / 3)
    # Two problems: either one alone or both are drawn.
    assert (summary.accuracy.low, summary.accuracy.high) == (0, 1)
    assert summary.response_tokens.value == pytest.approx(50 / 3)
    assert summary.redundant_steps.value == pytest.approx(4 / 3)
    assert summary.redundant_token_share.value == pytest.approx(14 / 27)


def test_without_labels_their_metrics_are_none():
    bare = replace(ROLLOUT, steps=tuple(replace(step, label=None) for step in STEPS))
    summary = summarize([measure(ROLLOUT, count), measure(bare, count)])
    assert summary.steps.value == 4
    assert summary.essential_steps is summary.redundant_steps is summary.redundant_token_share is None


def test_no_think_tokens_at_all_leaves_the_token_share_open():
    summary = summarize([measure(replace(ROLLOUT, steps=()), count)])
    assert summary.redundant_token_share is None
    assert summary.redundant_steps.value == 0


def test_difficulties_are_in_numerical_order():
    rollouts = [replace(ROLLOUT, difficulty=d, correct=d == "2") for d in ("10", "2", "easy", None, "2")]
    by_difficulty = summarize_by_difficulty([measure(r, count) for r in rollouts])
    assert list(by_difficulty) == ["2", "10", "easy"]
    assert [s.num_responses for s in by_difficulty.values()] == [2, 1, 1]
    assert [s.accuracy.value for s in by_difficulty.values()] == [1, 0, 0]


def test_the_order_of_responses_does_not_matter():
    rollouts = [replace(ROLLOUT, problem_id=f"p{i % 7}", correct=i % 3 == 0, sample=i) for i in range(20)]
    measured = [measure(r, count) for r in rollouts]
    assert summarize(measured[::-1]) == summarize(measured)
