"""Several samples, budgets, tails, subjects and data sets: the page's numbers are the files'."""

from __future__ import annotations

from pathlib import Path

from html_pages import Page, assert_self_contained
from measured import evaluation, rollout, save
from run_folders import ARMS, interval, sampled_evaluation, write_json

from attnpo.evaluation.result import EvaluationResult
from attnpo.evaluation.suites import compare_runs, load_run
from attnpo.reporting import write_report
from attnpo.reporting.benchmarks import mean_point, shared_names
from attnpo.reporting.marks import arm_marks
from attnpo.reporting.measures import group_table, measure_panels, number_table
from attnpo.reporting.run_folder import Arm, load_run_folder

SETS = ("gsm8k", "math500", "aime24")


def arms(**more: object) -> list[Arm]:
    return [Arm(name, EvaluationResult.model_validate(sampled_evaluation(name, **more))) for name in ARMS]


def write_benchmarks(folder: Path, names: tuple[str, ...] = SETS, of: tuple[str, ...] = tuple(ARMS)) -> Path:
    for arm in of:
        for place, name in enumerate(names):
            content = sampled_evaluation(arm, dataset=name, benchmark={"name": name, "title": name.upper()})
            content["problems"] = None  # as in a file of version 1
            content["overall"]["accuracy"] = interval(0.5 + 0.1 * place + 0.01 * len(arm), 0.03)
            write_json(folder / arm / name / "evaluation.json", content)
    return folder


def test_every_measured_number_is_on_the_page(run_dir: Path) -> None:
    for arm in ARMS:
        write_json(run_dir / arm / "evaluation.json", sampled_evaluation(arm))
    text = write_report(run_dir).read_text(encoding="utf-8")
    assert_self_contained(text, {"https://arxiv.org/abs/2602.09953"})
    page = Page(text)
    assert page.sections[:3] == ["frontier", "measures", "difficulty"]
    overall = sampled_evaluation("attnpo")["overall"]
    drawings = {said.split(" against ")[0]: said for said in page.drawings}
    for title, values in (
        ("pass@k", overall["pass_at_k"]),
        ("Majority vote", overall["majority_at_k"]),
        ("Accuracy within a token budget", {b: p["accuracy"] for b, p in overall["budgets"].items()}),
    ):
        for k, share in values.items():
            words = f"{100 * share['value']:.1f} %"
            assert f"{k} {words}" in drawings[title].partition("AttnPO: ")[2], title
            low, high = (f"{100 * share[end]:.1f} %" for end in ("low", "high"))
            assert any(f"AttnPO: {words} ({low} to {high})" in tip for tip in page.tips)
            assert f"{100 * share['value']:.1f} %" in page.words
    tail = overall["tails"]["response_tokens"]
    assert f"longest {tail['max']:,} tokens" in drawings["How long responses get"]
    row = [sampled_evaluation(arm)["overall"]["tails"]["response_tokens"]["p99"] for arm in ("base", "tlmre", "attnpo")]
    assert "response tokens, 99 % are shorter" + "".join(f"{value:,.0f}" for value in row) in page.words
    assert any("tokens spent" in tip for tip in page.tips)
    for subject in ("algebra", "counting", "number theory"):
        assert subject in page.words


def test_old_files_have_no_such_section(run_dir: Path) -> None:
    page = Page(write_report(run_dir).read_text(encoding="utf-8"))
    assert "measures" not in page.sections
    assert "benchmarks" not in page.sections


def test_what_an_arm_lacks_is_left_out() -> None:
    first, *others = arms()
    assert first.evaluation is not None
    bare = first.evaluation.model_copy(
        update={
            "overall": first.evaluation.overall.model_copy(
                update={"pass_at_k": {}, "majority_at_k": None, "budgets": {}, "tails": {}}
            ),
            "by_subject": {},
        }
    )
    mixed = [Arm("base", bare), *others]
    marks = arm_marks(mixed)
    assert len(measure_panels(mixed, marks)) == 4
    assert all("Starting model" not in panel.svg for panel in measure_panels(mixed, marks))
    rows = {row.head: row.cells for row in number_table(mixed, marks).rows}
    assert rows["pass@4"][0].html() == ("", "")
    assert rows["pass@4"][1].html()[0].endswith("%")
    assert group_table("subject", mixed, marks).rows[0].cells[0].interval is None
    assert measure_panels([Arm("base", bare)], arm_marks([Arm("base", bare)])) == []
    assert group_table("subject", [Arm("base", bare)], marks).rows == ()


def test_incomplete_and_inexact_evaluations_are_said(run_dir: Path) -> None:
    content = sampled_evaluation("attnpo", complete=False, num_problems=390, exact_token_counts=False, failures=7)
    write_json(run_dir / "attnpo" / "evaluation.json", content)
    page = Page(write_report(run_dir).read_text(encoding="utf-8"))
    assert "⚠ AttnPO: not complete, 390 of 400 problems are finished." in page.words
    assert "AttnPO: the engine reported text, so lengths are those of the text tokenized again." in page.words
    assert "responses were refused by the server or came to nothing" in page.words


def test_outcomes_come_from_the_evaluation_where_it_holds_them(run_dir: Path) -> None:
    content = sampled_evaluation("base")
    write_json(run_dir / "base" / "evaluation.json", content)
    columns = content["problems"]["columns"]
    found = load_run_folder(run_dir).arms[0].evaluation
    assert found is not None
    assert found.problems is not None
    assert found.problems.columns == columns


def test_several_data_sets(tmp_path: Path) -> None:
    page = Page(write_report(write_benchmarks(tmp_path)).read_text(encoding="utf-8"))
    assert page.sections == ["benchmarks", "how"]
    # 0.56, 0.66, 0.76 of attnpo against 0.54, 0.64, 0.74 of the starting model.
    assert "Over 3 data sets AttnPO answers 66.0 % right on average with 83 tokens a response" in page.words
    assert "the model it started from 64.0 % with 129." in page.words
    assert len(page.drawings) == 4  # the mean and one each
    assert "GSM8K400 problems × 1654.0 % 51.0–57.0" in page.words
    assert "64.0 % 61.0–67.0" in page.words


def test_a_mean_is_taken_over_shared_data_sets_only(tmp_path: Path) -> None:
    write_benchmarks(tmp_path, of=("base", "attnpo"))
    write_benchmarks(tmp_path, SETS[:2], of=("tlmre",))
    run = load_run_folder(tmp_path)
    assert sorted(shared_names(run.arms)) == sorted(SETS[:2])
    page = Page(write_report(tmp_path).read_text(encoding="utf-8"))
    assert "Over 2 data sets AttnPO answers 61.0 % right" in page.words
    assert "over 2 data sets, each with the same weight" in page.words


def test_the_mean_is_that_of_a_comparison(tmp_path: Path) -> None:
    for arm in ("base", "attnpo"):
        for name in SETS[:2]:
            rows = [rollout(f"{name}{i}", (i * len(arm)) % 3 > 0, 40 + 7 * (i % len(name))) for i in range(30)]
            save(evaluation(arm, rows, dataset=name, benchmark={"name": name}), tmp_path / arm / name)
    compared = compare_runs({arm: [load_run(tmp_path / arm)] for arm in ("base", "attnpo")}).average[1].values
    arm = next(arm for arm in load_run_folder(tmp_path).arms if arm.name == "attnpo")
    assert mean_point(arm, sorted(SETS[:2])) == (compared["accuracy"], compared["response_tokens"])


def test_folders_of_other_runs_are_no_data_sets(tmp_path: Path) -> None:
    for seed in (1, 2):
        for arm in ARMS:
            write_json(tmp_path / f"seed-{seed}" / arm / "evaluation.json", sampled_evaluation(arm))
    write_json(tmp_path / "base" / "evaluation.json", sampled_evaluation("base"))
    assert [arm.name for arm in load_run_folder(tmp_path).arms] == ["base"]
