from __future__ import annotations

import numpy as np
import pytest
from measured import evaluation, rollout, save, table

from attnpo.errors import DataError
from attnpo.evaluation import EvaluationSettings, compare, compare_folders, evaluate, load_arm, markdown_table
from attnpo.evaluation.comparison import Bootstrap, MeasuredArm, average_draws, draw_arms, on_common_problems
from attnpo.statistics import mean_interval, paired_difference_interval


def arm(name, *runs):
    return MeasuredArm(name, tuple(table(run, budgets=(64,)) for run in runs))


def rows(seed, shorter=0, n=40):
    rng = np.random.default_rng(seed)
    return [(f"{'ab'[i * 2 // n]}{i:02}", bool(rng.random() < 0.5), 50 + i - shorter) for i in range(n)]


def test_one_run_an_arm_equals_the_plain_paired_statistics():
    base_rows, other_rows = rows(0), rows(1, shorter=10)
    base, other = compare(arm("base", base_rows), [arm("attnpo", other_rows[::-1])])
    names = [r[0] for r in base_rows]
    values = {k: [r[k] for r in base_rows] for k in (1, 2)}, {k: [r[k] for r in other_rows] for k in (1, 2)}
    assert base.differences == {}
    assert base.response_tokens_saved is base.efficiency is None
    within = [[r[1] and r[2] <= 64 for r in side] for side in (base_rows, other_rows)]
    pairs = [
        (base.values["accuracy"], mean_interval(values[0][1], names)),
        (other.differences["accuracy"], paired_difference_interval(values[0][1], values[1][1], names, names)),
        (other.differences["pass@1"], paired_difference_interval(values[0][1], values[1][1], names, names)),
        (other.differences["response_tokens"], paired_difference_interval(values[0][2], values[1][2], names, names)),
        (other.differences["accuracy@64"], paired_difference_interval(*within, names, names)),
    ]
    for found, expected in pairs:
        assert found.model_dump() == pytest.approx(expected.model_dump())
    # Every problem is ten tokens shorter: no doubt about the difference, little about the share.
    assert other.differences["response_tokens"].model_dump() == pytest.approx({"value": -10, "low": -10, "high": -10})
    assert other.response_tokens_saved.value == pytest.approx(10 / 69.5)
    assert 0 < other.response_tokens_saved.low < 10 / 69.5 < other.response_tokens_saved.high
    assert list(other.accuracy_by_difficulty) == ["a", "b"]
    assert other.accuracy_by_difficulty["a"].value == pytest.approx(np.mean([r[1] for r in other_rows[:20]]))


def test_efficiency_against_a_slow_bootstrap():
    rng = np.random.default_rng(5)
    hits = rng.random((2, 30, 9)) < rng.random((2, 30, 1))
    lengths = rng.integers(20, 90, (2, 30, 9))

    def side(k):
        return [(f"a{i:02}", bool(hits[k, i, j]), int(lengths[k, i, j])) for i in range(30) for j in range(9)]

    _, other = compare(arm("base", side(0)), [arm("x", side(1))], level=0.8, n_resamples=20_000)

    def score(chosen):
        (a, b), (n, m) = (values[:, chosen].mean(axis=(1, 2)) for values in (hits, lengths))
        return (n - m) / n + (3 if b >= a else 5) * (b - a) / a

    draws = [score(rng.integers(0, 30, 30)) for _ in range(8000)]
    low, high = np.quantile(draws, [0.1, 0.9])
    assert other.efficiency.value == pytest.approx(score(np.arange(30)))
    assert low < 0 < high  # both branches of the score are drawn
    assert (other.efficiency.low, other.efficiency.high) == pytest.approx((low, high), abs=0.03)


def test_a_base_without_a_right_answer_has_no_efficiency():
    nothing = [(p, False, n) for p, _, n in rows(0)]
    _, other = compare(arm("base", nothing), [arm("x", rows(1))])
    assert other.efficiency is None
    assert other.differences["accuracy"].value > 0


def test_several_runs_are_pooled_and_widen_the_interval():
    runs = [rows(2, shorter) for shorter in (8, 10, 12)]
    (_, one), (_, three) = (compare(arm("base", rows(0)), [arm("x", *r)]) for r in (runs[1:2], runs))
    assert three.runs == 3
    assert three.differences["response_tokens"].value == pytest.approx(-10)
    width = [row.differences["response_tokens"].high - row.differences["response_tokens"].low for row in (one, three)]
    assert width[0] == pytest.approx(0, abs=1e-9)
    # Three runs, −8, −10 and −12: a standard error of 2 / sqrt(3), times 4.303 of Student's t of 2 degrees of freedom.
    assert width[1] == pytest.approx(2 * 4.303 * 2 / 3**0.5, rel=0.1)


def test_an_arm_of_one_run_is_told_alike_whoever_stands_beside_it():
    base, one, several = arm("base", rows(0)), arm("x", rows(2, 8)), arm("y", rows(2, 8), rows(3, 12))
    alone, beside = compare(base, [one])[1], compare(base, [one, several])[1]
    assert beside.differences["accuracy"] == alone.differences["accuracy"]
    assert beside.values == alone.values
    assert beside.efficiency == alone.efficiency


def test_each_group_is_compared_on_its_own_problems():
    base_rows, other_rows = rows(0), rows(1, shorter=10)
    _, other = compare(arm("base", base_rows), [arm("x", other_rows)])
    (_, alone) = compare(arm("base", base_rows[20:]), [arm("x", other_rows[20:])])
    assert other.by_difficulty["b"].differences["accuracy"] == alone.differences["accuracy"]
    assert other.by_difficulty["b"].response_tokens_saved == alone.response_tokens_saved
    assert other.by_difficulty["b"].efficiency == alone.efficiency
    assert other.by_subject == {}


def test_unlabelled_arms_have_no_label_metrics():
    bare = MeasuredArm("base", (table(rows(0)).model_copy(update={"labelled": False}),))
    base, other = compare(bare, [arm("x", rows(1))])
    assert base.values["redundant_steps"] is None
    assert other.values["redundant_steps"] is not None
    assert "redundant_steps" not in other.differences
    assert "redundant" not in markdown_table([base, other])


def test_other_problems_are_refused():
    with pytest.raises(DataError, match="arm 'x', run 2: measured on other problems than 'base'"):
        compare(arm("base", rows(0)), [arm("x", rows(1), rows(1, n=39))])


def test_common_problems():
    base, other = on_common_problems([arm("base", rows(0)), arm("x", rows(1)[5:], rows(2)[:30])])
    assert base.runs[0].problem_id == other.runs[1].problem_id == [r[0] for r in rows(0)[5:30]]
    assert other.runs[1].columns["correct"] == [int(r[1]) for r in rows(2)[5:30]]
    with pytest.raises(DataError, match="share no problem"):
        on_common_problems([arm("base", rows(0)[:3]), arm("x", rows(1)[3:])])


def test_runs_of_the_base_are_drawn_apart_from_those_of_an_arm():
    runs = [rows(2, shorter) for shorter in (8, 10, 12)]
    _, other = compare(arm("base", *runs), [arm("x", *runs)])
    found = other.differences["response_tokens"]
    assert found.value == 0
    assert found.low < -1
    assert found.high > 1


def test_the_average_weighs_benchmarks_alike_and_draws_them_apart():
    first, second = arm("x", rows(0)), arm("x", rows(1, n=10))
    accuracy = [np.mean([r[1] for r in rows(0)]), np.mean([r[1] for r in rows(1, n=10)])]
    blocks = [draw_arms([a], Bootstrap(n_resamples=50), block=i)[0] for i, a in enumerate((first, second))]
    assert average_draws(blocks)["accuracy"][0] == pytest.approx(np.mean(accuracy))
    # Two benchmarks that happen to have the same numbers are still two: the mean varies half as much as one.
    twice = [draw_arms([first], Bootstrap(n_resamples=4000), block=block)[0] for block in (0, 1)]
    one, both = twice[0]["accuracy"][1:].var(), average_draws(twice)["accuracy"][1:].var()
    assert both == pytest.approx(one / 2, rel=0.1)


def test_markdown_table():
    table_ = markdown_table(compare(arm("base", rows(0)), [arm("attnpo", rows(0, shorter=10))]))
    lines = table_.splitlines()
    assert lines[0] == "| arm | runs | accuracy, % | Δ | tokens | Δ | essential steps | Δ | redundant steps | Δ | AES |"
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
    assert base.values["redundant_token_share"] == results["base"].overall.redundant_token_share
    mean = (results["x-0"].overall.accuracy.value + results["x-1"].overall.accuracy.value) / 2
    assert x.values["accuracy"].value == pytest.approx(mean)
    assert x.differences["accuracy"].value == pytest.approx(mean - base.values["accuracy"].value)


def test_folders_sampled_otherwise_are_refused_by_setting(toy, tmp_path):
    evaluated(toy, tmp_path / "base", 0)
    evaluated(toy, tmp_path / "x", 0, max_new_tokens=50, top_p=0.9)
    with pytest.raises(DataError) as error:
        compare_folders(tmp_path / "base", {"x": [tmp_path / "x"]})
    assert "sampling.max_new_tokens is 60 in" in str(error.value)
    assert "sampling.top_p is 0.95 in" in str(error.value)
    with pytest.raises(DataError, match=r"gone: no such file; make it with `attnpo evaluate`"):
        compare_folders(tmp_path / "base", {"x": [tmp_path / "gone"]})
    with pytest.raises(DataError, match="arm 'x': no folder to read"):
        load_arm("x", [])


def test_a_file_of_version_1_is_measured_from_the_rollouts_beside_it(toy, tmp_path):
    result = evaluated(toy, tmp_path / "base", 0)
    old = result.model_copy(update={"problems": None, "schema_version": 1})
    save(old, tmp_path / "base")
    (found,) = load_arm("base", [tmp_path / "base"]).runs
    for name in ("correct", "response_tokens", "redundant_tokens", "responses"):
        assert found.columns[name] == result.problems.columns[name]
    save(old, tmp_path / "alone")
    with pytest.raises(DataError, match=r"alone/evaluation.json: holds no sums of problems"):
        load_arm("base", [tmp_path / "alone"])


def test_the_table_survives_the_file(tmp_path):
    result = evaluation("base", [rollout(*row, answer="é\n") for row in rows(0)], budgets=(64,))
    folder = save(result, tmp_path)
    assert load_arm("base", [folder]).runs[0] == result.problems
    # One line a column keeps the file small and readable.
    assert len((folder / "evaluation.json").read_text().splitlines()) < 700
