from __future__ import annotations

import tracemalloc
from dataclasses import replace

import numpy as np
import pytest
from measured import measured, rollout, table

from attnpo.errors import ConfigError
from attnpo.evaluation import EvaluationSettings
from attnpo.evaluation.metrics import default_budgets, metric_names, ratio_cells
from attnpo.evaluation.summary import summarize, summarize_by
from attnpo.evaluation.tally import Tally
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


def tallied(*rollouts, budgets=()):
    tally = Tally(count, labelling=True)
    for r in rollouts:
        tally.add(r)
    return tally.measured(budgets)


def test_the_numbers_of_one_response():
    found = tallied(ROLLOUT, budgets=(16, 32)).table
    assert found.columns == {
        "responses": [1],
        "correct": [1],
        "response_tokens": [20],
        "think_tokens": [12],
        "answer_tokens": [6],
        "steps": [4],
        "truncated": [0],
        "confused_phrases": [2],
        "progression_phrases": [0],
        "summary_phrases": [1],
        "essential_steps": [1],
        "redundant_steps": [2],
        "undecided_steps": [1],
        "redundant_tokens": [7],
        "correct@16": [0],
        "tokens@16": [16],
        "correct@32": [1],
        "tokens@32": [20],
    }
    assert (found.problem_id, found.difficulty, found.labelled) == (["a"], ["2"], True)


def test_an_unverified_unfinished_response_is_wrong_and_truncated():
    found = tallied(replace(ROLLOUT, correct=None, finished=False, steps=(), answer_tokens=(20, 20))).table
    assert [found.columns[name] for name in ("correct", "truncated", "answer_tokens")] == [[0], [1], [0]]
    assert found.labelled


def test_summary_pools_responses_and_tokens():
    other = replace(ROLLOUT, problem_id="b", correct=False, steps=STEPS[:1], response_ids=tuple(range(10)))
    summary = summarize(tallied(ROLLOUT, ROLLOUT, other))
    assert (summary.num_responses, summary.num_problems) == (3, 2)
    assert summary.accuracy.value == pytest.approx(2 / 3)
    # Two problems: either one alone or both are drawn.
    assert (summary.accuracy.low, summary.accuracy.high) == (0, 1)
    assert summary.response_tokens.value == pytest.approx(50 / 3)
    assert summary.redundant_steps.value == pytest.approx(4 / 3)
    assert summary.redundant_token_share.value == pytest.approx(14 / 27)
    assert summary.confused_phrases.value == 2
    assert summary.confused_per_1k_tokens.value == pytest.approx(1000 * 6 / 50)
    assert summary.progression_per_1k_tokens.value == 0


def test_without_labels_their_metrics_are_none():
    bare = replace(ROLLOUT, steps=tuple(replace(step, label=None) for step in STEPS))
    summary = summarize(tallied(ROLLOUT, bare))
    assert summary.steps.value == 4
    assert summary.essential_steps is summary.redundant_steps is summary.redundant_token_share is None


def test_no_think_tokens_at_all_leaves_the_token_share_open():
    summary = summarize(tallied(replace(ROLLOUT, steps=())))
    assert summary.redundant_token_share is None
    assert summary.redundant_steps.value == 0
    unlabelled = Tally(count)
    unlabelled.add(replace(ROLLOUT, steps=()))
    assert summarize(unlabelled.measured(())).redundant_steps is None


def test_groups_are_in_numerical_order():
    rollouts = [
        replace(ROLLOUT, problem_id=f"p{i}", difficulty=d, correct=d == "2")
        for i, d in enumerate(("10", "2", "easy", None, "2"))
    ]
    found = tallied(*rollouts)
    groups = summarize_by(found.table.difficulty, found)
    assert list(groups) == ["2", "10", "easy"]
    assert [s.num_responses for s in groups.values()] == [2, 1, 1]
    assert [s.accuracy.value for s in groups.values()] == [1, 0, 0]
    assert [s.tails["response_tokens"].max for s in groups.values()] == [20, 20, 20]


def test_a_group_is_what_its_problems_alone_would_give():
    rows = [rollout(f"{'ab'[i % 2]}{i % 6}", i % 3 == 0, 5 + i, answer=str(i % 2)) for i in range(24)]
    found = measured(rows, budgets=(16,))
    alone = measured([r for r in rows if r.difficulty == "b"], budgets=(16,))
    assert summarize_by(found.table.difficulty, found, resamples=50)["b"] == summarize(alone, resamples=50)


def test_the_order_of_responses_does_not_matter():
    rollouts = [replace(ROLLOUT, problem_id=f"p{i % 7}", correct=i % 3 == 0, sample=i) for i in range(20)]
    assert summarize(tallied(*rollouts[::-1], budgets=(16,))) == summarize(tallied(*rollouts, budgets=(16,)))


def test_budgets_by_brute_force():
    rng = np.random.default_rng(0)
    rows = [(f"p{i % 9}", bool(rng.random() < 0.5), int(rng.integers(1, 90))) for i in range(45)]
    budgets = (8, 16, 32, 64)
    summary = summarize(measured([rollout(*row) for row in rows], budgets), resamples=200)
    assert list(summary.budgets) == list(budgets)
    for budget, point in summary.budgets.items():
        assert point.accuracy.value == pytest.approx(np.mean([right and n <= budget for _, right, n in rows]))
        assert point.tokens.value == pytest.approx(np.mean([min(n, budget) for _, _, n in rows]))
        assert point.accuracy.low <= point.accuracy.value <= point.accuracy.high


def test_a_response_of_exactly_the_budget_fits():
    found = table([("a", True, 8), ("a", True, 9)], (8,))
    assert (found.columns["correct@8"], found.columns["tokens@8"]) == ([1], [16])


def test_tails_are_the_quantiles_of_all_responses():
    lengths = np.random.default_rng(0).integers(4, 500, 101).tolist()
    tails = summarize(measured([rollout(f"p{i % 10}", True, n) for i, n in enumerate(lengths)]), resamples=10).tails
    ordered = sorted(lengths)
    tail = tails["response_tokens"]
    # With 101 values the quantiles fall on values.
    assert (tail.median, tail.p90, tail.p95, tail.p99, tail.max) == tuple(ordered[i] for i in (50, 90, 95, 99, 100))
    assert tails["think_tokens"].max == max(lengths) - 3
    assert tails["answer_tokens"].median == 2


def test_default_budgets():
    assert default_budgets(16384) == (512, 1024, 2048, 4096, 8192, 16384)
    assert default_budgets(40_000)[-1] == 32768
    assert default_budgets(2048) == (512, 1024, 2048)
    assert default_budgets(320) == (8, 16, 32, 64, 128, 256)
    assert default_budgets(1) == (1,)
    assert EvaluationSettings(max_new_tokens=320, budgets=[256, 32, 32]).token_budgets == (32, 256)
    with pytest.raises(ConfigError, match="budgets: 512 is above max_new_tokens 320"):
        EvaluationSettings(max_new_tokens=320, budgets=[512])
    with pytest.raises(ConfigError, match="budgets: 0 is not allowed; use an integer of at least 1"):
        EvaluationSettings(budgets=[0])


def test_cells_of_every_metric_add_up_to_the_summary():
    rows = [rollout(f"{'ab'[i % 2]}{i % 5}", i % 3 == 0, 5 + i, answer=str(i % 2)) for i in range(40)]
    found = measured(rows, budgets=(16,))
    names = metric_names(found.table)
    totals = ratio_cells(found.table, names).sum(axis=2)
    values = dict(zip(names, totals[:, 0] / totals[:, 1], strict=True))
    summary = summarize(found, resamples=10)
    assert values["accuracy"] == summary.accuracy.value
    assert values["pass@2"] == pytest.approx(summary.pass_at_k[2].value)
    assert values["majority@4"] == pytest.approx(summary.majority_at_k[4].value)
    assert values["accuracy@16"] == summary.budgets[16].accuracy.value
    assert values["tokens@16"] == summary.budgets[16].tokens.value
    assert values["redundant_token_share"] == 1


def test_memory_hardly_grows_with_the_responses():
    def held(responses: int) -> int:
        tracemalloc.start()
        tally = Tally(lambda text: {})
        for i in range(responses):
            tally.add(rollout(f"p{i % 20}", True, 40, response="word " * 500, answer=str(i % 50)))
        size = tracemalloc.get_traced_memory()[0]
        tracemalloc.stop()
        assert len(tally) == responses
        return size

    held(10)
    # Each response's text alone is 2,500 bytes.
    assert (held(4000) - held(1000)) / 3000 < 40
