"""The labeler's report on the page: judges, causal, or anything else that is JSON."""

from __future__ import annotations

from pathlib import Path

from html_pages import Page
from run_folders import discovery, interval, labeling_of_judges, write_json

from attnpo.labeling.judge.report import JudgeReport
from attnpo.reporting import write_report
from attnpo.reporting.labels import labeling_view, write_fact


def test_fixture_is_what_judges_report() -> None:
    report = labeling_of_judges()
    assert JudgeReport.model_validate(report).model_dump(mode="json") == report


def test_judges_are_shown_with_agreement_and_cost(discovery_dir: Path) -> None:
    page = Page(write_report(discovery_dir).read_text(encoding="utf-8"))
    assert "agreement · Fleiss’ κ0.734 (0.713–0.755)" in page.words
    assert "judge-a, judge-b6,9850.8600.750" in page.words
    assert "prompt tokens401,437401,438401,439" in page.words
    assert "abstained: no valid answer–45" in page.words
    assert "redundant3,460 49.4 %" in page.words
    assert "Of 2,048 sampled responses, 841 passed every gate" in page.words


def test_histogram_with_its_threshold() -> None:
    report = {
        "threshold": {"threshold": 0.5, "noise": 0.1},
        "effects": {"edges": [-1.0, 0.0, 1.0, 2.0], "counts": [5, 7, 2], "unit": "nats"},
    }
    view = labeling_view(report)
    ((title, _, drawing),) = view.distributions
    page = Page(str(drawing))
    assert title == "effects"
    assert page.tips == ["-1 to 0\n5", "0 to 1\n7", "1 to 2\n2"]
    assert page.drawings == ["effects. 14 values from -1 to 2."]
    assert "threshold 0.5" in page.text
    assert ("threshold · noise", "0.100") in view.facts
    assert "threshold" not in Page(str(labeling_view({"effects": report["effects"]}).distributions[0][2])).text


def test_counts_shares_tables_and_the_rest() -> None:
    view = labeling_view(
        {
            "labels": {"essential": 3, "redundant": 1},
            "label_distribution": {"a": 0.25, "b": 0.5},
            "cost": {"alone": {"tokens": 1200, "seconds": 90.0}, "eliminated": {"tokens": 5, "seconds": 0.5}},
            "sizes": {f"{i / 10:g}": i / 4 for i in range(8)},
            "kappa": interval(0.5, 0.1),
            "nothing": None,
            "empty": {},
            "names": ["x", "y"],
            "fine": True,
        }
    )
    counts = {
        table.title: [(row.head, Page(str(row.cells[1])).words.replace("\u00a0", " ")) for row in table.rows]
        for table in view.counts
    }
    assert counts["labels"] == [("essential", "3 75.0 %"), ("redundant", "1 25.0 %")]
    assert counts["label distribution"] == [("a", "25.0 %"), ("b", "50.0 %")]
    tables = {table.title: table for table in view.tables}
    assert [column.title for column in tables["cost"].columns] == ["", "tokens", "seconds"]
    rows = [(row.head, *row.cells) for row in tables["cost"].rows]
    assert rows == [("alone", "1,200", "1.5 min"), ("eliminated", "5", "0 s")]
    assert (tables["sizes"].rows[2].head, *tables["sizes"].rows[2].cells) == ("0.2", "0.500")
    assert view.facts == (("Cohen’s κ", "0.500 (0.400–0.600)"), ("names", "x, y"), ("fine", "yes"))


def test_quantiles_are_drawn_as_a_strip_with_the_threshold() -> None:
    quantiles = {"0": -2.0, "0.01": -1.0, "0.05": -0.2, "0.25": 0.0, "0.5": 0.1, "0.75": 3.0, "0.95": 20.0,
                 "0.99": 40.0, "1": 90.0}  # fmt: skip
    ((title, _, drawing),) = labeling_view(
        {"threshold": {"threshold": 0.5}, "effect_quantiles": quantiles}
    ).distributions
    page = Page(str(drawing))
    assert title == "effect quantiles"
    assert page.tips == [
        "98% of the steps: -1 to 40",
        "90% of the steps: -0.2 to 20",
        "50% of the steps: 0 to 3",
        "median 0.1",
    ]
    assert "threshold 0.5" in page.text
    places = [float(a["x1"] or 0) for a in (*page.with_class("median"), *page.with_class("bound"))]
    assert places == sorted(places)
    assert {"-1", "0", "10"} <= set(page.text)
    assert labeling_view({"quantiles": {"a": 1.0}}).distributions == ()


def test_numbers_are_written_by_their_kind() -> None:
    assert [write_fact("", v) for v in (True, 12345, 0.12345, 0.00001234, 1234.5, float("nan"), "text")] == [
        "yes", "12,345", "0.123", "1.23e-05", "1,234", "–", "text",
    ]  # fmt: skip
    assert write_fact("wall_seconds", 120.0) == "2.0 min"


def test_hostile_reports_stay_text(tmp_path: Path) -> None:
    hostile = "<img src=x onerror=alert(1)>"
    report = {hostile: hostile, "labels": {hostile: 3}, "judges": [{"name": hostile, "x": hostile}]}
    write_json(tmp_path / "discovery.json", discovery(labeling=report))
    page = Page(write_report(tmp_path).read_text(encoding="utf-8"))
    assert not any(tag == "img" for tag, _ in page.elements)


def test_a_labeler_without_a_report_has_only_the_gates() -> None:
    view = labeling_view({})
    assert (view.facts, view.counts, view.distributions, view.tables) == ((), (), (), ())
    assert labeling_view({"rows": 3}).facts == (("rows", "3"),)
