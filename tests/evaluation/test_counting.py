from __future__ import annotations

import csv
import io
import json

import pytest
from measured import evaluation, rollout, save

from attnpo.errors import ConfigError, DataError
from attnpo.evaluation import EvaluationResult, EvaluationSettings, evaluate
from attnpo.evaluation.conditions import check_comparable
from attnpo.evaluation.counting import count_columns, load_counter
from attnpo.evaluation.exports import comparison_csv, comparison_json, comparison_markdown
from attnpo.evaluation.suites import compare_runs, load_run
from attnpo.evaluation.summary import summarize, summarize_by
from attnpo.evaluation.tally import Tally
from attnpo.reporting.marks import arm_marks
from attnpo.reporting.measures import number_table
from attnpo.reporting.result_tables import comparison_tables, evaluation_tables
from attnpo.reporting.run_folder import Arm


def letters(question, response, steps):
    """Letters a, and the share of all letters that are b."""
    assert question == "q"
    return {"a": response.count("a"), "b_share": (response.count("b"), len(response))}


ROWS = [
    rollout("p1", True, 8, response="aab"),
    rollout("p1", True, 8, sample=1, response="b"),
    rollout("p2", False, 8, response="aaaa"),
    rollout("p2", False, 8, sample=1, response=""),
]


def measured(rows=ROWS, counter=letters):
    tally = Tally(lambda text: {}, counter)
    for row in rows:
        tally.add(row)
    return tally.measured(())


def counted(name, rows=ROWS, counter="m:letters", **changes):
    found = measured(rows)
    return evaluation(
        name,
        rows,
        overall=summarize(found, 0.95, 100),
        by_difficulty=summarize_by(found.table.difficulty, found, 0.95, 100),
        problems=found.table,
        counter=counter,
        **changes,
    )


def test_a_number_is_a_mean_and_a_pair_a_pooled_share():
    found = measured()
    assert found.table.columns["count:a"] == [2, 4]
    assert found.table.columns["count:b_share"] == [2, 0]
    assert found.table.columns["of:b_share"] == [4, 4]
    counts = summarize(found, 0.95, 500).counts
    assert counts["a"].value == 6 / 4
    assert counts["b_share"].value == 2 / 8
    assert (counts["b_share"].low, counts["b_share"].high) == (0, 0.5)  # two problems: shares 1/2 and 0


def test_many_problems_are_counted_in_their_own_rows():
    rows = [rollout(f"p{i:03}", True, 8, response="a" * i) for i in range(150)]
    assert measured(rows).table.columns["count:a"] == list(range(150))


def test_a_share_of_nothing_is_left_out():
    counts = summarize(measured([rollout("p", True, 8, response="")])).counts
    assert list(counts) == ["a"]


def test_without_a_counter_there_are_no_counts():
    found = measured(counter=None)
    assert summarize(found, 0.95, 10).counts == {}
    assert found.table.counted() == []


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        ([1], "returned list; return a mapping"),
        ({"a b": 1}, "'a b' is no name for a count"),
        ({3: 1}, "3 is no name for a count"),
        ({"a": "many"}, "a is 'many'; return a number of at least 0"),
        ({"a": -1}, "a is -1; return a number"),
        ({"a": float("nan")}, "a is nan; return a number"),
        ({"a": (1, 2, 3)}, r"a is \(1, 2, 3\); return a number"),
    ],
)
def test_a_malformed_count_names_the_response(answer, said):
    with pytest.raises(DataError, match=f"counter, problem 'p1', sample 1: {said}"):
        count_columns(lambda *_: answer, ROWS[1])


def test_names_must_stay_the_same():
    with pytest.raises(DataError, match=r"problem 'p1', sample 1: count:b is counted for some responses only"):
        measured(counter=lambda q, r, s: {"a": 1} if "a" in r else {"a": 1, "b": 1})


def test_load_counter():
    assert load_counter("attnpo.tinyworld:count_checks")("Why?", "", [])["checks"] == 0
    with pytest.raises(ConfigError, match="counter 'nowhere'"):
        load_counter("nowhere")


def test_counts_survive_the_file(tmp_path):
    result = counted("x")
    assert EvaluationResult.load(save(result, tmp_path) / "evaluation.json") == result
    assert result.counter == "m:letters"


def test_a_run_without_counts_may_stand_beside_one_with_them_but_not_two_counters():
    plain = evaluation("base", ROWS)
    assert check_comparable({"base": plain, "x": counted("x")}) == []
    with pytest.raises(DataError, match=r'counter .* is not recorded in base, "m:letters" in x, "m:other" in y'):
        check_comparable({"base": plain, "x": counted("x"), "y": counted("y", counter="m:other")})


def test_a_comparison_shows_counts_with_differences(tmp_path):
    fewer = [rollout(r.problem_id, bool(r.correct), 8, sample=r.sample, response=r.response[1:]) for r in ROWS]
    folders = {
        "base": save(counted("base"), tmp_path / "base"),
        "x": save(counted("x", fewer), tmp_path / "x"),
        "plain": save(evaluation("plain", ROWS), tmp_path / "plain"),
    }
    comparison = compare_runs({name: [load_run(folder)] for name, folder in folders.items()})
    _, x, plain = comparison.rows
    assert x.values["count:a"].value == (1 + 0 + 3 + 0) / 4
    assert x.differences["count:a"].value == 1 - 1.5
    assert "count:a" not in plain.values
    markdown = comparison_markdown(comparison)
    assert "| counted a response, or share | a | Δ | b share | Δ |" in markdown
    assert "| plain | – | – | – | – |" in markdown
    rows = csv.DictReader(io.StringIO(comparison_csv(comparison)))
    row = next(r for r in rows if (r["arm"], r["metric"], r["group"]) == ("x", "count:a", ""))
    assert (float(row["value"]), float(row["difference"])) == (1.0, -0.5)
    stored = json.loads(comparison_json(comparison))["benchmarks"]["toy"]["arms"]["x"]
    assert stored["values"]["count:b_share"]["value"] == 1 / 5
    assert comparison.results["x"].overall.counts["a"].value == 1.0
    titles = [str(table.title) for table in comparison_tables(comparison)]
    assert "counted a response, or share" in titles


def test_tables_of_one_run_and_the_report_name_the_counts():
    result = counted("x")
    (table,) = [t for t in evaluation_tables([result]) if t.title == "counted a response, or share"]
    assert [row.head for row in table.rows] == ["a", "b share"]
    arm = Arm("x", result)
    assert [row.head for row in number_table([arm], arm_marks([arm])).rows].count("b share") == 1
    assert not [t for t in evaluation_tables([evaluation("y", ROWS)]) if "counted" in str(t.title)]


def test_a_finished_run_is_counted_again_and_not_sampled_again(toy, tmp_path):
    def run(sampler, counter, name=None):
        return evaluate(
            "base",
            toy.tokenizer,
            toy.problems(4),
            sampler,
            toy.segmenter,
            toy.verifier,
            toy.labeler,
            EvaluationSettings(samples_per_problem=2, max_new_tokens=45, resamples=50),
            tmp_path,
            counter=counter,
            counter_name=name,
        )

    plain, again = run(toy.Sampler(), None), toy.Sampler()
    found = run(again, lambda question, response, steps: {"steps": len(steps)}, "m:steps")
    assert not again.sampled
    assert (plain.counter, plain.overall.counts) == (None, {})
    assert found.counter == "m:steps"
    assert found.overall.counts["steps"] == found.overall.steps == plain.overall.steps
