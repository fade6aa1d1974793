"""Differences between arms, and the sentence that must claim no more than they carry."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace

import pytest

from attnpo.evaluation.result import EvaluationResult
from attnpo.evaluation.table import ProblemTable
from attnpo.reporting.headline import headline, problems
from attnpo.reporting.run_folder import Arm, RunFolder, load_run_folder
from attnpo.reporting.wording import direction
from attnpo.statistics import Interval

BASE_ACCURACY, BASE_TOKENS = 0.6, 100.0


def summary(accuracy: float, tokens: float, half: float, half_tokens: float) -> dict:
    wide = {"value": 1.0, "low": 0.9, "high": 1.1}
    names = ("think_tokens", "answer_tokens", "steps", "truncated")
    names += ("confused_phrases", "progression_phrases", "summary_phrases")
    return {
        "num_responses": 100,
        "accuracy": {"value": accuracy, "low": accuracy - half, "high": accuracy + half},
        "response_tokens": {"value": tokens, "low": tokens - half_tokens, "high": tokens + half_tokens},
    } | dict.fromkeys(names, wide)


def arm(name: str, accuracy: float, tokens: float, half: float = 0.02, half_tokens: float = 2.0, **more: object) -> Arm:
    fields = {
        "name": name,
        "model": "m",
        "dataset": "tinyworld:heldout",
        "num_problems": 100,
        "samples_per_problem": 1,
        "seed": 0,
        "sampling": {"temperature": 1.0, "seed": 0},
        "wall_seconds": 1.0,
        "tokens_per_second": 1.0,
        "overall": summary(accuracy, tokens, half, half_tokens),
        "by_difficulty": {},
    } | more
    return Arm(name, EvaluationResult.model_validate(fields))


def with_sums(arm: Arm, correct: list[int], tokens: list[int], first: int = 0) -> Arm:
    """The arm with one response to each problem."""
    assert arm.evaluation is not None
    n = len(correct)
    columns = {"responses": [1] * n, "correct": correct, "response_tokens": tokens}
    names = [f"p{first + i:03}" for i in range(n)]
    none = [None] * n
    table = ProblemTable(problem_id=names, difficulty=none, subject=none, labelled=False, columns=columns)
    return Arm(arm.name, arm.evaluation.model_copy(update={"problems": table}))


def say(*arms: Arm) -> str:
    return headline(RunFolder(Path("run"), arms)).sentence


@pytest.mark.parametrize(
    ("accuracy", "tokens", "expected"),
    [
        (0.7, 80, "AttnPO answers 70.0 % of 100 held-out problems right with 80 tokens a response, "
         "where the model it started from needed 100 for 60.0 %."),
        (0.61, 80, "AttnPO needs 80 tokens a response, where the model it started from needed 100, "
         "with no measurable difference in accuracy (61.0 % against 60.0 % of 100 held-out problems)."),
        (0.5, 80, "AttnPO needs 80 tokens a response, where the model it started from needed 100, "
         "but it answers fewer problems right: 50.0 % against 60.0 % of 100 held-out problems."),
        (0.7, 99, "AttnPO answers 70.0 % of 100 held-out problems right, where the model it started from answered "
         "60.0 %, with no measurable difference in length (99 against 100 tokens a response)."),
        (0.61, 99, "AttnPO shows no measurable difference from the model it started from: "
         "61.0 % against 60.0 % of 100 held-out problems right, 99 against 100 tokens a response."),
        (0.5, 99, "AttnPO answers fewer problems right than the model it started from: 50.0 % against 60.0 % of "
         "100 held-out problems, with no measurable difference in length (99 against 100 tokens a response)."),
        (0.7, 120, "AttnPO answers 70.0 % of 100 held-out problems right, where the model it started from answered "
         "60.0 %, but at greater length: 120 against 100 tokens a response."),
        (0.61, 120, "AttnPO needs 120 tokens a response, more than the 100 of the model it started from, "
         "with no measurable difference in accuracy (61.0 % against 60.0 % of 100 held-out problems)."),
        (0.5, 120, "AttnPO answers fewer problems right than the model it started from: 50.0 % against 60.0 % of "
         "100 held-out problems, and needs more tokens: 120 against 100 tokens a response."),
    ],
)  # fmt: skip
def test_sentence_claims_what_intervals_carry(accuracy: float, tokens: float, expected: str) -> None:
    sentence = say(arm("base", BASE_ACCURACY, BASE_TOKENS), arm("attnpo", accuracy, tokens))
    assert sentence.replace("\u00a0", " ") == expected


def test_sentence_without_base_or_training() -> None:
    assert "was not measured" in say(arm("attnpo", 0.7, 80))
    assert say(arm("base", 0.6, 100)).endswith("Nothing has been trained yet.")
    assert say(arm("base", 0.6, 100)).startswith("The starting model answers 60.0")


@pytest.mark.parametrize("other", [{"dataset": "gsm8k"}, {"num_problems": 99}, {"sampling": {"temperature": 0.6}}])
def test_measured_otherwise_is_not_compared(other: dict) -> None:
    base, trained = arm("base", 0.6, 100, **other), arm("attnpo", 0.7, 80)
    assert trained.minus(base) is None
    assert "no comparison" in say(base, trained)


def test_another_sampling_seed_is_compared() -> None:
    assert arm("a", 0.7, 80).minus(arm("b", 0.6, 90, sampling={"temperature": 1.0, "seed": 3})) is not None


@pytest.mark.parametrize(
    ("dataset", "held_out"),
    [("attnpo.tinyworld:heldout_dataset", True), ("gsm8k_test.jsonl", True), ("latest.jsonl", False), ("train", False)],
)
def test_held_out_only_where_the_data_set_says_so(dataset: str, held_out: bool) -> None:
    assert ("held-out" in problems(arm("a", 0.5, 50, dataset=dataset))) is held_out


def test_unpaired_difference_is_the_widest_the_intervals_allow() -> None:
    difference = arm("a", 0.70, 80, half=0.04).minus(arm("b", 0.65, 100, half=0.03))
    assert difference is not None
    assert not difference.paired
    assert difference.accuracy.low == pytest.approx(0.66 - 0.68)
    assert difference.accuracy.high == pytest.approx(0.74 - 0.62)
    assert direction(difference.accuracy) == 0
    assert direction(difference.tokens) == -1


def test_paired_difference_finds_what_overlapping_intervals_hide() -> None:
    base, trained = arm("base", 0.5, 100, half=0.1), arm("attnpo", 0.55, 95, half=0.1, half_tokens=20)
    base = with_sums(base, [i < 50 for i in range(100)], [80 + 40 * (i % 2) for i in range(100)])
    # Five problems more, none less; every response 5 tokens shorter.
    trained = with_sums(trained, [i < 55 for i in range(100)], [75 + 40 * (i % 2) for i in range(100)])
    difference = trained.minus(base)
    assert difference is not None
    assert difference.paired
    assert difference.accuracy.value == pytest.approx(0.05)
    assert difference.accuracy.low > 0
    assert (difference.tokens.low, difference.tokens.high) == pytest.approx((-5, -5))


def test_outcomes_of_other_problems_are_not_compared() -> None:
    first, second = (with_sums(arm(name, 0.5, 80), [1], [10], first=i) for i, name in enumerate("ab"))
    assert first.minus(second) is None


def test_direction_at_the_border() -> None:
    assert direction(Interval(value=1, low=0, high=2)) == 0
    assert direction(Interval(value=-1, low=-2, high=0)) == 0
    assert direction(Interval(value=1, low=1e-9, high=2)) == 1


def test_several_seeds_are_said(run_dir: Path) -> None:
    (run_dir / "attnpo").rename(run_dir / "attnpo-seed0")
    second = run_dir / "attnpo-seed1"
    second.mkdir()
    content = json.loads((run_dir / "attnpo-seed0" / "evaluation.json").read_text())
    (second / "evaluation.json").write_text(json.dumps(content))
    top = headline(load_run_folder(run_dir))
    assert top.sentence.startswith("AttnPO, seed 0 answers")
    assert "Of 2 such runs in this folder the sentence is about the first, attnpo-seed0." in top.details[-1]


def test_against_tlmre_and_controls(run_dir: Path) -> None:
    details = headline(load_run_folder(run_dir)).details
    assert details[0].startswith("Against TLMRE (length penalty alone): shorter responses (−")
    assert "no measurable difference in accuracy" in details[0]
    assert not any("shuffled" in detail for detail in details)


def test_interval_like_needs_no_pydantic() -> None:
    assert direction(SimpleNamespace(value=1.0, low=0.5, high=1.5)) == 1
