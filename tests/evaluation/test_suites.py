from __future__ import annotations

import csv
import io
import json

import numpy as np
import pytest
from measured import evaluation, rollout, save

from attnpo.errors import ConfigError, DataError
from attnpo.evaluation import EvaluationResult
from attnpo.evaluation.comparison import Bootstrap
from attnpo.evaluation.exports import comparison_csv, comparison_json, comparison_markdown
from attnpo.evaluation.suites import average_row, compare_runs, group_runs, load_run


def responses(seed, problems=12, samples=4, shorter=0, better=0.0):
    rng = np.random.default_rng(seed)
    return [
        rollout(
            f"{'ab'[i % 2]}{i:02}", bool(rng.random() < 0.4 + better), 30 + i - shorter, sample=j, answer=str(j % 2)
        )
        for i in range(problems)
        for j in range(samples)
    ]


def write(folder, name, seed, problems=12, benchmark=None, **changes):
    options = {key: changes.pop(key) for key in ("shorter", "better", "samples") if key in changes}
    rows = responses(seed, problems, **options)
    about = None if benchmark is None else {"benchmark": benchmark}
    return save(
        evaluation(name, rows, budgets=(16, 64), benchmark=about, dataset=benchmark or "toy", **changes), folder
    )


@pytest.fixture
def two(tmp_path):
    write(tmp_path / "base", "base", 0)
    write(tmp_path / "x", "x", 1, shorter=6, better=0.3)
    return tmp_path


@pytest.fixture
def suite(tmp_path):
    for name, more in (("base", {}), ("x", {"shorter": 6, "better": 0.3})):
        for seed, (benchmark, problems) in enumerate((("gsm8k", 12), ("aime24", 5))):
            write(tmp_path / name / benchmark, name, seed, problems, benchmark, **more)
    return tmp_path


def compared(folder, *names, **options):
    return compare_runs(group_runs([load_run(folder / name) for name in names], {}), **options)


def test_a_file_a_folder_and_a_suite_are_runs(suite):
    folder = suite / "x" / "gsm8k"
    assert load_run(folder / "evaluation.json").results == load_run(folder).results
    run = load_run(suite / "x")
    assert run.results["gsm8k"] == load_run(folder).results[""]
    assert sorted(run.results) == ["aime24", "gsm8k"]
    assert run.name == "x"


def test_folders_that_are_no_run(two):
    with pytest.raises(DataError, match=r"nothing: no evaluation.json there; make one with"):
        load_run(two / "nothing")
    with pytest.raises(DataError, match="holds several runs, not several benchmarks of one; name them one by one"):
        load_run(two)


def test_runs_of_one_name_are_one_arm(two):
    write(two / "seed-2" / "x", "x", 2, shorter=5)
    runs = [load_run(path) for path in (two / "base", two / "x", two / "seed-2" / "x")]
    arms = group_runs(runs, {})
    assert {name: len(group) for name, group in arms.items()} == {"base": 1, "x": 2}
    assert {n: len(g) for n, g in group_runs(runs[:1], {"y": runs[1:]}).items()} == {"base": 1, "y": 2}
    row = compare_runs(arms).rows[1]
    assert row.runs == 2
    assert row.differences["response_tokens"].value == pytest.approx(-5.5)
    pooled = compare_runs(arms).results["x"]
    assert pooled.overall.num_responses == 96
    assert pooled.overall.accuracy == row.values["accuracy"]
    assert pooled.overall.pass_at_k[4] == row.values["pass@4"]
    assert pooled.overall.budgets[16].tokens == row.values["tokens@16"]
    assert pooled.overall.tails == {}


def test_nothing_to_compare_is_refused(two):
    run = load_run(two / "base")
    with pytest.raises(ConfigError, match="no runs are given"):
        group_runs([], {})
    with pytest.raises(ConfigError, match=r"given twice"):
        group_runs([run, load_run(two / "x")], {"y": [run]})
    write(two / "other", "base", 3)
    with pytest.raises(ConfigError, match=r"all runs are called 'base' and would be pooled.*--runs ARM=DIR"):
        group_runs([run, load_run(two / "other")], {})


def test_a_single_section_has_no_average(two):
    comparison = compared(two, "base", "x")
    assert comparison.average == ()
    (section,) = comparison.sections
    assert (section.title, section.num_problems, section.samples_per_problem) == ("toy", 12, 4)
    assert comparison.rows == section.rows
    assert comparison.results["x"].overall.tails["response_tokens"].max == 35
    assert comparison.caveats == ()


def test_the_average_over_benchmarks_is_their_plain_mean(suite):
    comparison = compared(suite, "base", "x")
    assert [section.title for section in comparison.sections] == ["aime24", "gsm8k"]
    base, x = comparison.average
    for metric in ("accuracy", "response_tokens", "pass@4", "majority@4", "accuracy@16"):
        parts = [section.rows[1].values[metric].value for section in comparison.sections]
        assert x.values[metric].value == pytest.approx(np.mean(parts))
        assert x.differences[metric].value == pytest.approx(np.mean(parts) - base.values[metric].value)
    accuracy, tokens = ([r.values[m].value for r in (base, x)] for m in ("accuracy", "response_tokens"))
    change = (accuracy[1] - accuracy[0]) / accuracy[0]
    assert change > 0
    assert x.efficiency.value == pytest.approx((tokens[0] - tokens[1]) / tokens[0] + 3 * change)
    assert comparison.results["x"].overall.accuracy == x.values["accuracy"]
    alone = average_row(load_run(suite / "x").results, Bootstrap())
    assert alone.values["accuracy"].value == pytest.approx(x.values["accuracy"].value)


def test_other_benchmarks_are_refused_or_left_out(suite):
    (suite / "x" / "aime24" / "evaluation.json").unlink()
    with pytest.raises(DataError, match=r"x lacks aime24; .*--allow benchmarks"):
        compared(suite, "base", "x")
    comparison = compared(suite, "base", "x", allow=["benchmarks"])
    assert [section.title for section in comparison.sections] == ["gsm8k"]
    assert "lacks aime24" in comparison.caveats[0]
    with pytest.raises(DataError, match=r"is one evaluation and .* several benchmarks"):
        compare_runs(group_runs([load_run(suite / "base" / "gsm8k")], {"x": [load_run(suite / "x")]}))


def test_other_problems_are_compared_where_that_is_allowed(two):
    write(two / "y", "y", 1, problems=10, shorter=3)
    with pytest.raises(DataError, match=r"problems .* is"):
        compared(two, "base", "y")
    comparison = compared(two, "base", "y", allow=["problems"])
    assert comparison.sections[0].num_problems == 10
    assert "Compared on the 10 problems that all runs share." in comparison.caveats
    assert comparison.rows[1].differences["response_tokens"].value == pytest.approx(-3)


def test_responses_that_came_to_nothing_are_a_caveat(two):
    file = two / "x" / "evaluation.json"
    EvaluationResult.load(file).model_copy(update={"failures": 2}).save(file)
    comparison = compared(two, "base", "x")
    assert len(comparison.caveats) == 1
    assert f"{two / 'x'}: 2 of 48 responses were refused by the server or came to nothing" in comparison.caveats[0]
    assert comparison.results["x"].failures == 2


def test_fewer_samples_leave_the_larger_k_out(two):
    write(two / "y", "y", 1, samples=2)
    row = compared(two, "base", "y", allow=["samples"]).rows[1]
    assert "pass@4" not in row.values
    assert "pass@2" in row.differences
    assert "pass@4" not in row.differences


def test_markdown_csv_and_json_hold_the_same_numbers(suite):
    comparison = compared(suite, "base", "x")
    text = comparison_markdown(comparison)
    row = comparison.average[1]
    assert row.values["accuracy"].format(1, 100) in text
    assert row.efficiency.format(2) in text
    assert row.differences["pass@4"].format(1, 100) in text
    assert "## gsm8k" in text
    tables = [block for block in text.split("\n\n") if block.startswith("|")]
    assert len(tables) > 8
    for block in tables:
        assert len({line.count("|") for line in block.splitlines()}) == 1
    cells = list(csv.DictReader(io.StringIO(comparison_csv(comparison))))
    (found,) = [
        c for c in cells if (c["benchmark"], c["group"], c["arm"], c["metric"]) == ("average", "", "x", "accuracy@16")
    ]
    assert float(found["value"]) == row.values["accuracy@16"].value
    assert float(found["difference_low"]) == row.differences["accuracy@16"].low
    (group,) = [
        c
        for c in cells
        if (c["benchmark"], c["group"], c["arm"], c["metric"]) == ("gsm8k", "difficulty=a", "x", "accuracy")
    ]
    assert float(group["value"]) == comparison.sections[1].rows[1].by_difficulty["a"].values["accuracy"].value
    content = json.loads(comparison_json(comparison))
    assert content["average"]["x"]["efficiency"] == row.efficiency.model_dump()
    assert content["benchmarks"]["aime24"]["arms"]["base"]["efficiency"] is None
