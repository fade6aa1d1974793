from __future__ import annotations

import numpy as np
import pytest

from attnpo.errors import DataError
from attnpo.evaluation import EvaluationSettings, compare, compare_folders, evaluate, load_arm, markdown_table
from attnpo.evaluation.comparison import ArmResponses
from attnpo.evaluation.metrics import METRICS, MeasuredResponse
from attnpo.statistics import mean_interval, paired_difference_interval


def arm(name, *runs, labelled=True):
    """An arm from runs of (problem, accuracy, tokens) rows; difficulty is the problem's first letter."""

    def measured(problem, accuracy, tokens):
        numerators = np.zeros(len(METRICS))
        numerators[METRICS.index("accuracy")] = accuracy
        numerators[METRICS.index("response_tokens")] = tokens
        numerators[METRICS.index("redundant_steps")] = tokens / 10
        return MeasuredResponse(problem, problem[0], labelled, numerators, np.ones(len(METRICS)))

    return ArmResponses(name, tuple(tuple(measured(*row) for row in run) for run in runs))


def rows(seed, shorter=0.0, n=40):
    rng = np.random.default_rng(seed)
    return [(f"{'ab'[i * 2 // n]}{i:02}", float(rng.random() < 0.5), 50 + i - shorter) for i in range(n)]


def test_one_run_an_arm_equals_the_plain_paired_statistics():
    base_rows, other_rows = rows(0), rows(1, shorter=10)
    base, other = compare(arm("base", base_rows), [arm("attnpo", other_rows[::-1])])
    names = [r[0] for r in base_rows]
    values = {k: [r[k] for r in base_rows] for k in (1, 2)}, {k: [r[k] for r in other_rows] for k in (1, 2)}
    assert base.differences == {}
    assert base.response_tokens_saved is None
    pairs = [
        (base.values["accuracy"], mean_interval(values[0][1], names)),
        (other.differences["accuracy"], paired_difference_interval(values[0][1], values[1][1], names, names)),
        (other.differences["response_tokens"], paired_difference_interval(values[0][2], values[1][2], names, names)),
    ]
    for found, expected in pairs:
        assert found.model_dump() == pytest.approx(expected.model_dump())
    # Every problem is ten tokens shorter: no doubt about the difference, little about the share.
    assert other.differences["response_tokens"].model_dump() == pytest.approx({"value": -10, "low": -10, "high": -10})
    assert other.response_tokens_saved.value == pytest.approx(10 / 69.5)
    assert 0 < other.response_tokens_saved.low < 10 / 69.5 < other.response_tokens_saved.high
    assert list(other.accuracy_by_difficulty) == ["a", "b"]
    assert other.accuracy_by_difficulty["a"].value == pytest.approx(np.mean([r[1] for r in other_rows[:20]]))


def test_several_runs_are_pooled_and_widen_the_interval():
    runs = [rows(2, shorter) for shorter in (8, 10, 12)]
    (_, one), (_, three) = (compare(arm("base", rows(0)), [arm("x", *r)]) for r in (runs[1:2], runs))
    assert three.runs == 3
    assert three.differences["response_tokens"].value == pytest.approx(-10)
    width = [row.differences["response_tokens"].high - row.differences["response_tokens"].low for row in (one, three)]
    assert width[0] == pytest.approx(0, abs=1e-9)
    assert width[1] > 1


def test_unlabelled_arms_have_no_label_metrics():
    base, other = compare(arm("base", rows(0), labelled=False), [arm("x", rows(1))])
    assert base.values["redundant_steps"] is None
    assert other.values["redundant_steps"] is not None
    assert "redundant_steps" not in other.differences
    assert "redundant" not in markdown_table([base, other])


def test_other_problems_are_refused():
    with pytest.raises(DataError, match="arm 'x', run 2: measured on other problems than 'base'"):
        compare(arm("base", rows(0)), [arm("x", rows(1), rows(1, n=39))])


def test_markdown_table():
    table = markdown_table(compare(arm("base", rows(0)), [arm("attnpo", rows(0, shorter=10))]))
    lines = table.splitlines()
    assert lines[0] == "| arm | runs | accuracy, % | Δ | tokens | Δ | essential steps | Δ | redundant steps | Δ |"
    assert lines[2].startswith("| base | 1 | ")
    assert "| -10.0 [-10.0, -10.0] |" in lines[3]
    assert len({line.count("|") for line in lines}) == 1


def evaluated(toy, folder, seed, **changes):
    settings = EvaluationSettings(
        **{"samples_per_problem": 2, "max_new_tokens": 60, "resamples": 50, **changes}, seed=seed
    )
    return evaluate(
        folder.name,
        toy.tokenizer,
        toy.problems(10),
        toy.Sampler(),
        toy.segmenter,
        toy.verifier,
        toy.labeler,
        settings,
        folder,
    )


def test_folders_are_compared_whatever_their_seed(toy, tmp_path):
    results = {name: evaluated(toy, tmp_path / name, seed) for seed, name in enumerate(("base", "x-0", "x-1"))}
    base, x = compare_folders(tmp_path / "base", {"x": [tmp_path / "x-0", tmp_path / "x-1"]}, n_resamples=50)
    assert base.values["accuracy"] == results["base"].overall.accuracy
    mean = (results["x-0"].overall.accuracy.value + results["x-1"].overall.accuracy.value) / 2
    assert x.values["accuracy"].value == pytest.approx(mean)
    assert x.differences["accuracy"].value == pytest.approx(mean - base.values["accuracy"].value)


def test_folders_sampled_otherwise_are_refused_by_setting(toy, tmp_path):
    evaluated(toy, tmp_path / "base", 0)
    evaluated(toy, tmp_path / "x", 0, max_new_tokens=50)
    with pytest.raises(
        DataError, match=r"x: not comparable with .*base: sampling.max_new_tokens is 50 here and 60 there"
    ):
        compare_folders(tmp_path / "base", {"x": [tmp_path / "x"]})
    with pytest.raises(DataError, match=r"gone/rollouts.jsonl: no such rollouts file"):
        compare_folders(tmp_path / "base", {"x": [tmp_path / "gone"]})
    with pytest.raises(DataError, match="arm 'x': no folder to read"):
        load_arm("x", [])
