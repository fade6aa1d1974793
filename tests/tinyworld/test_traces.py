from __future__ import annotations

import hashlib
from collections import Counter
from dataclasses import replace
from functools import lru_cache

import pytest
from trivial_rules import Row, ranking_accuracy

from attnpo.tinyworld import check_usefulness, generate_problems, label_steps, reference_trace
from attnpo.tinyworld.oracle import merged_steps
from attnpo.tinyworld.problems import NAMES
from attnpo.tinyworld.survey import boxed_answer, paragraph_steps
from attnpo.tinyworld.tokenizer import build_tokenizer
from attnpo.tinyworld.traces import TraceStyle


@lru_cache(maxsize=1)
def reference_rows() -> list[list[Row]]:
    tokenizer = build_tokenizer()
    traces = []
    for problem in generate_problems("train", 1200, seed=11):
        text = reference_trace(problem, seed=1)
        steps = paragraph_steps(text)
        rows = []
        for i, ((a, b), label) in enumerate(zip(steps, label_steps(problem.question, text, steps), strict=True)):
            word = text[a:b].split()[0]
            rows.append((i, len(tokenizer(text[a:b])["input_ids"]), "NAME" if word in NAMES else word, label))
        traces.append(rows)
    return traces


def test_length_does_not_tell_the_label() -> None:
    assert 0.35 <= ranking_accuracy(lambda row: -row[1], reference_rows()) <= 0.65


def test_place_does_not_tell_the_label() -> None:
    assert 0.35 <= ranking_accuracy(lambda row: -row[0], reference_rows()) <= 0.65


def test_opening_word_does_not_tell_the_label() -> None:
    traces = reference_rows()
    half = len(traces) // 2
    counts = Counter((row[2], row[3]) for rows in traces[:half] for row in rows)

    def odds(row: Row) -> float:
        essential, redundant = counts[row[2], "essential"], counts[row[2], "redundant"]
        return (essential + 0.5) / (essential + redundant + 1)

    assert ranking_accuracy(odds, traces[half:]) <= 0.65
    confused = ("Wait,", "Hmm,", "Alternatively,", "But", "Hold")
    assert ranking_accuracy(lambda row: row[2] not in confused, traces) <= 0.65


def test_traces_overthink() -> None:
    tokens: Counter[str] = Counter()
    for rows in reference_rows():
        for row in rows:
            tokens[row[3]] += row[1]
    assert tokens["redundant"] / tokens.total() >= 0.40
    openings = {row[2] for rows in reference_rows() for row in rows}
    assert {"Wait,", "Hmm,", "Alternatively,", "First,", "Next,", "Then", "Now,", "So", "Therefore,"} <= openings


def test_every_needed_value_is_established_once_and_the_answer_is_right() -> None:
    for problem in generate_problems("heldout", 200, seed=2):
        text = reference_trace(problem, seed=5)
        steps = paragraph_steps(text)
        labels = label_steps(problem.question, text, steps)
        # A slip is undecided and its correction essential, so each needed value is established exactly once.
        assert labels.count("essential") == problem.difficulty
        assert boxed_answer(text) == problem.solution
        final = text.split("</think>")[1]
        assert all(f"{name} has {problem.values[name]}" in final for name in problem.chain[1:])


def test_some_checks_are_useful_and_most_are_not() -> None:
    useful: Counter[bool] = Counter()
    for problem in generate_problems("train", 300, seed=8):
        text = reference_trace(problem, seed=2)
        useful.update(check.useful for check in check_usefulness(problem.question, text, paragraph_steps(text)))
    assert 0.05 < useful[True] / useful.total() < 0.4


def test_the_shipped_world_stays_what_it_was() -> None:
    digest = hashlib.blake2b(digest_size=8)
    for problem in generate_problems("train", 300, seed=3):
        digest.update(reference_trace(problem, seed=1).encode())
    assert digest.hexdigest() == "55b601bbbdab010b"


SHORTCUTS = TraceStyle(slip=0, merge=0.5, merge_slip=0.3, merge_check=0.5)


@pytest.mark.parametrize("name_last", [0.0, 1.0])
def test_steps_taken_together_are_essential_and_their_slips_mended_part_by_part(name_last: float) -> None:
    style = replace(SHORTCUTS, merge_name_last=name_last)
    right: Counter[bool] = Counter()
    verdicts: Counter[str] = Counter()
    for problem in generate_problems("train", 300, seed=4):
        text = reference_trace(problem, seed=2, style=style)
        steps = paragraph_steps(text)
        where = (problem.question, text, steps)
        labels, merged = label_steps(*where), merged_steps(*where)
        final = text.split("</think>")[1]
        stated = [name for name in problem.chain[1:] if f"{name} has {problem.values[name]}" in final]
        # Each name that is not passed over is established exactly once, by a right step or by the check of a wrong one.
        assert labels.count("essential") == len(stated)
        assert problem.target in stated
        assert boxed_answer(text) == problem.solution
        assert all(step.holds == step.right for step in merged)
        right.update(step.right for step in merged)
        checks = [check for check in check_usefulness(*where) if "," in text[slice(*steps[check.step])]]
        verdicts.update(check.verdict for check in checks)
        assert sum(not step.right for step in merged) == sum(check.useful for check in check_usefulness(*where))
    assert 0.2 < right[False] / right.total() < 0.4
    assert set(verdicts) == {"confirms", "corrects"}


def test_a_trace_without_shortcuts_has_none() -> None:
    for problem in generate_problems("train", 50, seed=5):
        text = reference_trace(problem, seed=1)
        assert merged_steps(problem.question, text, paragraph_steps(text)) == []


def test_traces_are_seeded() -> None:
    problem = generate_problems("train", 1)[0]
    assert reference_trace(problem, seed=3) == reference_trace(problem, seed=3)
    assert len({reference_trace(problem, seed=s) for s in range(10)}) > 5
