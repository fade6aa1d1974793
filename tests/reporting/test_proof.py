"""Intervention, stability, transfer and verification on the page: its numbers are the files', its words no more."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from html_pages import Page, assert_self_contained
from run_folders import interval, intervention, stability, transfer, verification, write_discovery, write_json

from attnpo.discovery.evidence import InterventionResult, StabilityResult, TransferResult, VerificationResult
from attnpo.errors import DataError
from attnpo.reporting import write_report
from attnpo.reporting.intervention import intervention_sentence
from attnpo.reporting.stability import (
    below,
    reselection_lines,
    stability_axis,
    stability_sentence,
    stability_view,
)
from attnpo.reporting.transfer import transfer_matrix, transfer_table
from attnpo.reporting.verification import figure_table

SPACE = "\u00a0"


def read(folder: Path) -> Page:
    return Page(write_report(folder).read_text(encoding="utf-8"))


def test_page_of_a_discovery_with_every_proof(discovery_dir: Path) -> None:
    text = write_report(discovery_dir).read_text(encoding="utf-8")
    page = Page(text)
    assert page.sections == ["heads", "labels", "proof", "how"]
    assert_self_contained(text, {"https://arxiv.org/abs/2602.09953"}, {"http://127.0.0.1:8000/v1"})
    assert len(page.with_class("omitted")) == 1  # the command is not known
    assert "clearly more than any trivial rule on pairs of like length" in page.words
    assert page.words.count("right without top-scored steps") == 1


def test_intervention_numbers_are_those_of_the_file(discovery_dir: Path) -> None:
    page = read(discovery_dir)
    bars = next(d for d in page.drawings if d.startswith("Answers right after removing steps"))
    for c in intervention()["conditions"]:
        share = f"{100 * c['accuracy']['value']:.1f}"
        assert f"{share} %" in bars
        assert f"{share} %" in page.words
    assert "random, 20 %14.2 tokens, 1.3 steps a trace" in page.words
    # Differences from the untouched traces and from random deletions, with their intervals.
    for number in ("−30.0 −31.8 to −28.2", "−23.1 −25.5 to −20.7", "+17.1 +14.7 to +19.5"):
        assert number in page.words
    assert "Up to 0.4 % of the answers of a condition were cut at the token limit." in page.words
    assert sum("highest-scored" in tip and "61.2" in tip for tip in page.tips) == 2  # wide and narrow


def test_a_difference_that_holds_zero_is_grey(discovery_dir: Path) -> None:
    cells = read(discovery_dir).with_class("delta")
    unmeasured = [c for c in cells if "unmeasured" in (c["class"] or "")]
    # Intervention: the lowest at both amounts. Transfer: each group with its own choice.
    assert len(unmeasured) == 2 + 2


@pytest.mark.parametrize(
    ("lowest", "highest", "against", "expected"),
    [
        ((0.0, 0.01), (-0.3, 0.01), (-0.2, 0.01),
         "Removing 20 %: the lowest-scored steps cost nothing measurable (0.0 points, −1.0 to +1.0); the "
         "highest-scored cost accuracy (−30.0 points, −31.0 to −29.0), more than random steps of the same length."),
        ((-0.1, 0.02), (-0.1, 0.02), (0.01, 0.02),
         "Removing 20 %: the lowest-scored steps cost accuracy (−10.0 points, −12.0 to −8.0); the highest-scored cost "
         "accuracy (−10.0 points, −12.0 to −8.0), not measurably more than random steps of the same length."),
        ((0.05, 0.01), (-0.01, 0.02), (0.04, 0.01),
         "Removing 20 %: the lowest-scored steps raise accuracy (+5.0 points, +4.0 to +6.0); the highest-scored cost "
         "nothing measurable (−1.0 points, −3.0 to +1.0), less than random steps of the same length."),
    ],
)  # fmt: skip
def test_sentence_on_intervention(lowest: tuple, highest: tuple, against: tuple, expected: str) -> None:
    content = intervention()
    kept = [c for c in content["conditions"] if c["amount"] in ("", "20%")]
    for condition in kept:
        if condition["name"] == "lowest":
            condition["difference"] = interval(*lowest)
        if condition["name"] == "highest":
            condition |= {"difference": interval(*highest), "against_random": interval(*against)}
    result = InterventionResult.model_validate(content | {"conditions": kept})
    assert intervention_sentence(result).replace(SPACE, " ") == expected


def test_stability_numbers_are_those_of_the_file(discovery_dir: Path) -> None:
    page = read(discovery_dir)
    points = stability()["points"]
    sra = next(d for d in page.drawings if d.startswith("SRA on the probe set against optimizer step"))
    pearson = next(d for d in page.drawings if d.startswith("Correlation of step scores with the start"))
    for place in (0, -1):  # a drawing of many points names the first, the last and some between
        assert f"{points[place]['sra']['value']:.3f}" in sra
        assert f"{points[place]['pearson']['value']:.3f}" in pearson
    for point in points:
        low, high = point["sra"]["low"], point["sra"]["high"]
        line = f"all pairs: {point['sra']['value']:.3f} ({low:.3f} to {high:.3f})"
        assert any(line in tip and f"optimizer step: {point['step']}\n" in tip for tip in page.tips)
    assert "⚠ step 160: SRA 0.786 is under 0.82" in page.words
    assert "step 160: heads chosen anew, 2.0, 2.3, 3.1 → 2.0, 2.1, SRA 0.786 → 0.861" in page.words
    assert "▼ under the bound" in page.words
    assert "bound 0.85" in page.words
    lowest = min(p["pearson"]["value"] for p in points)
    assert f"correlation with the start 0.889 (0.88–0.90) at the end, lowest {lowest:.3f} (step 160)" in page.words


def test_stability_of_an_arm_is_shown_with_its_name(run_dir: Path) -> None:
    write_json(run_dir / "attnpo" / "stability.json", stability())
    page = read(run_dir)
    assert "proof" in page.sections
    assert "Stability: AttnPO: do the heads stay what they were?" in page.words


def test_an_arm_with_nothing_but_stability_is_found(tmp_path: Path) -> None:
    write_json(tmp_path / "attnpo" / "stability.json", stability())
    page = read(tmp_path)
    assert "No arm has been evaluated yet." in page.words
    assert "Stability: AttnPO" in page.words


def test_checkpoints_without_steps_stand_side_by_side() -> None:
    content = stability(steps=2)
    for point, name in zip(content["points"], ("base", "runs/a/checkpoint-20", "runs/b/"), strict=True):
        point |= {"step": None, "name": name}
    result = StabilityResult.model_validate(content)
    axis, places = stability_axis(result)
    assert places == [0.0, 1.0, 2.0]
    assert [axis.name(x) for x in places] == ["base", "checkpoint-20", "b"]
    assert "(b)" in stability_sentence(result)
    view = stability_view("", result)
    # A re-selection has a training step, checkpoints have not: it is told, not drawn.
    assert view.signs == ()
    assert len(view.reselections) == 1
    assert "checkpoint-20 0." in str(view.panels[0].svg)


def test_values_under_a_bound_and_kept_heads() -> None:
    assert below([0.9, 0.8, 0.7], 0.8) == [2]
    assert below([0.1], None) == []
    again = {"step": 1200, "old": [[1, 2], [0, 1]], "new": [[0, 1], [1, 2]]}
    result = StabilityResult.model_validate(stability(reselections=[again]))
    assert reselection_lines(result) == ["step 1,200: heads chosen anew, kept 1.2, 0.1, nothing better found"]


def test_transfer_table(discovery_dir: Path) -> None:
    rows = transfer_table(TransferResult.model_validate(transfer())).rows
    assert [(r.head, r.cells[0], r.css == "ours") for r in rows] == [
        ("difficulty 1–2", "difficulty 1–2", True),
        ("difficulty 1–2", "difficulty 4–5", False),
        ("difficulty 4–5", "difficulty 1–2", False),
        ("difficulty 4–5", "difficulty 4–5", True),
    ]
    differences = [row.cells[3] for row in rows[:2]]
    assert [(d.html(), d.measurable) for d in differences] == [
        (("0.000", "−0.008 to +0.008"), False),
        (("−0.012", "−0.020 to −0.004"), True),
    ]
    page = read(discovery_dir)
    assert "difficulty 1–2difficulty 4–50.898 0.89–0.910.908 0.89–0.93−0.012" in page.words
    assert "2.0, 2.32,410" in page.words
    assert "Left out: difficulty 3: 9 problems." in page.words


def test_transfer_between_three_groups_is_a_matrix(tmp_path: Path) -> None:
    rows = [
        {"selected_on": a, "reported_on": b, "heads": [[1, 2]], "sra": interval(0.8, 0.1), "pairs": 10,
         "best_there": interval(0.9, 0.1), "best_there_heads": [[0, 0]], "difference": interval(0.0, 0.0)}
        for a, b in (("1", "2"), ("2", "1"), ("1", "3"))
    ]  # fmt: skip
    write_json(tmp_path / "transfer.json", transfer(rows=rows))
    page = read(tmp_path)
    assert "10.9000.8000.80020.8000.900–3––0.900SRA. Outlined" in page.words.replace(" SRA.", "SRA.")
    assert "chosen on 1: 1.2\nmeasured on 2\nSRA 0.800 (0.70–0.90), 10 pairs" in page.tips
    assert "chosen on 3: 0.0\nmeasured on 3\nSRA 0.900 (0.80–1.00), 10 pairs" in page.tips
    assert len(page.with_class("own")) == 3
    assert transfer_matrix(TransferResult.model_validate(transfer())) is None


def test_verification_then_and_now(tmp_path: Path) -> None:
    write_json(tmp_path / "verification.json", verification())
    page = read(tmp_path)
    assert page.sections == ["proof", "how"]
    assert page.words.count(verification()["verdict"]) == 2  # headline and section
    assert "SRA, all pairs0.901 0.89–0.910.895 0.88–0.91inside" in page.words
    assert "SRA, length-matched pairs0.944 0.93–0.960.930 0.91–0.95near: intervals overlap" in page.words
    assert "shorter first0.590 0.58–0.600.520 0.50–0.54apart" in page.words
    assert "redundant tokens attenuated0.860 0.85–0.87––" in page.words
    rows = figure_table(VerificationResult.model_validate(verification())).rows
    assert ["ours" in r.css for r in rows] == [True, True, False, True]


def test_without_any_proof_the_page_says_how(discovery_dir: Path) -> None:
    for name in ("intervention.json", "stability.json", "transfer.json"):
        (discovery_dir / name).unlink()
    page = read(discovery_dir)
    assert "no intervention.json, stability.json or transfer.json" in page.words
    assert "--intervene true" in page.words


@pytest.mark.parametrize("name", ["intervention.json", "stability.json", "transfer.json", "verification.json"])
@pytest.mark.parametrize("content", ["{", "[]", '{"schema_version": 7}'])
def test_malformed_proofs_are_named_with_the_fix(tmp_path: Path, name: str, content: str) -> None:
    write_discovery(tmp_path)
    (tmp_path / name).write_text(content)
    with pytest.raises(DataError, match=rf"{name}: .*make it (again )?with `attnpo"):
        write_report(tmp_path)


def test_a_malformed_proof_of_an_arm_is_named(run_dir: Path) -> None:
    write_json(run_dir / "attnpo" / "stability.json", {"model": "m"})
    with pytest.raises(DataError, match=r"attnpo/stability\.json: field heads"):
        write_report(run_dir)


def test_extremes_draw(tmp_path: Path) -> None:
    nothing = {"value": 0.0, "low": 0.0, "high": 0.0}
    content = intervention()
    for condition in content["conditions"]:
        condition["accuracy"] = nothing
    write_json(tmp_path / "intervention.json", content)
    one = stability(steps=0, reselections=[], warnings=[], min_sra=None, min_pearson=None)
    write_json(tmp_path / "stability.json", one)
    write_json(tmp_path / "transfer.json", transfer(rows=[], left_out=["difficulty 3: 9 problems"]))
    text = write_report(tmp_path).read_text(encoding="utf-8")
    assert "nan" not in json.dumps(Page(text).drawings)
    assert "SRA on the probe set" in text
    assert "Left out: difficulty 3: 9 problems." in Page(text).words
