"""The comparison table: its numbers against the long way, its files, its page."""

from __future__ import annotations

import csv
import io
import json
import re
from collections import Counter
from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
import pytest
from reproduced import PROBLEMS, measure, trained_row, write_log

from attnpo.errors import DataError
from attnpo.evaluation.result import EvaluationResult
from attnpo.reporting.reproduction import (
    RunCost,
    TrainedRow,
    method_table,
    read_cost,
    save_method_frontiers,
    table_csv,
    table_json,
    table_markdown,
)
from attnpo.reporting.reproduction.costs import pooled_costs
from attnpo.reporting.reproduction.curves import curve_groups, mean_curve
from attnpo.reporting.reproduction.exports import mass_table
from attnpo.reporting.reproduction.marks import row_mark
from attnpo.reporting.reproduction.page import render_method_page

ABOUT = {"date": "2026-01-02", "commit": "abc", "command": "attnpo reproduce", "machine": "one"}


@pytest.fixture
def rows(tmp_path):
    return [
        trained_row(tmp_path, "sgrpo", extra=640.0, differs="eight <exits>"),
        trained_row(tmp_path, "tlmre", shorter=30),
        trained_row(tmp_path, "attnpo", seeds=(1,), group="attnpo", better=0.3, shorter=50),
    ]


@pytest.fixture
def base(tmp_path):
    return measure(tmp_path / "base", "base", 0)


@pytest.fixture
def table(base, rows):
    return method_table(base, rows, ("tlmre", "attnpo", "absent"), ["attnpo/2"], budget=80_000)


def mean(folder, column):
    found = EvaluationResult.load(folder / "evaluation.json").problems
    return found.column(column).sum() / PROBLEMS


def test_values_and_differences_are_those_of_the_problems(table, rows, base):
    lengths = {r.name: np.mean([mean(f, "response_tokens") for f in r.folders.values()]) for r in rows}
    right = {r.name: np.mean([mean(f, "correct") for f in r.folders.values()]) for r in rows}
    found = {r.name: r.comparison for r in table.rows}
    assert list(found) == ["base", "sgrpo", "tlmre", "attnpo"]
    for name in lengths:
        assert found[name].values["response_tokens"].value == pytest.approx(lengths[name])
        assert found[name].values["accuracy"].value == pytest.approx(right[name])
    before, share = mean(base, "response_tokens"), mean(base, "correct")
    change = (right["attnpo"] - share) / share
    assert change > 0
    assert found["attnpo"].efficiency.value == pytest.approx((before - lengths["attnpo"]) / before + 3 * change)
    assert set(table.against) == {"tlmre", "attnpo"}
    beside = {r.name: r for r in table.against["tlmre"]}
    assert set(beside) == {"sgrpo", "attnpo"}
    gap = beside["attnpo"].differences["response_tokens"]
    assert gap.value == pytest.approx(lengths["attnpo"] - lengths["tlmre"])
    assert gap.low < gap.value < gap.high
    assert beside["attnpo"].response_tokens_saved.value == pytest.approx(1 - lengths["attnpo"] / lengths["tlmre"])
    assert [r.name for r in table.against["attnpo"]] == ["sgrpo", "tlmre"]


def test_differences_are_paired_problem_by_problem(base, tmp_path):
    # With one seed both draw the same random lengths: problem by problem they differ by a constant.
    rows = [trained_row(tmp_path, "tlmre", (1,), shorter=30), trained_row(tmp_path, "laser", (1,), shorter=20)]
    table = method_table(base, rows, ("tlmre",))
    (laser,) = table.against["tlmre"]
    difference = laser.differences["response_tokens"]
    assert (difference.value, difference.low, difference.high) == pytest.approx((10, 10, 10))
    alone = table.rows[-1].comparison.values["response_tokens"]
    assert alone.high - alone.low > 3


def test_costs_of_the_runs(table):
    costs = {r.name: r.costs for r in table.rows}
    assert costs["base"] is None
    # Seeds 1 and 2 sampled 640 and 1,280 extra tokens a step of 64 responses.
    assert costs["sgrpo"].extra_tokens.value == pytest.approx(15)
    assert (costs["sgrpo"].extra_tokens.low, costs["sgrpo"].extra_tokens.high) == (10, 20)
    assert costs["tlmre"].extra_tokens.value == costs["tlmre"].extra_pass_tokens.value == 0
    assert (costs["tlmre"].steps.value, costs["tlmre"].sampled_tokens.value) == (10, 80_000)
    assert costs["attnpo"].essential_punished.value == pytest.approx(0.2)
    assert costs["attnpo"].redundant_rewarded.value == pytest.approx(0.4)


def test_costs_span_the_runs_and_weigh_them_by_responses():
    runs = [RunCost(10, 100, 1000.0, extra_tokens=100.0), RunCost(20, 300, 4000.0, extra_tokens=900.0)]
    found = pooled_costs([*runs, RunCost(12, 100, 1600.0, extra_tokens=200.0)])
    assert (found.steps.low, found.steps.value, found.steps.high) == (10, 14, 20)
    assert (found.sampled_tokens.low, found.sampled_tokens.value, found.sampled_tokens.high) == (1000, 2200, 4000)
    assert (found.extra_tokens.low, found.extra_tokens.value, found.extra_tokens.high) == (1, 2.4, 3)
    untrained = pooled_costs([RunCost(0, 0, extra_tokens=0.0)])
    assert untrained.extra_tokens is None


def test_costs_that_a_log_does_not_know():
    known = RunCost(10, 640, 1000.0, 20.0, 0.0, 0.1, 0.2)
    found = pooled_costs([known, RunCost(12, 768)])
    assert found.steps.value == 11
    assert found.sampled_tokens is found.extra_tokens is found.extra_pass_tokens is found.essential_punished is None


def test_a_log_that_cannot_be_read(tmp_path):
    with pytest.raises(DataError, match=r"log\.jsonl: cannot be read"):
        read_cost(tmp_path, 64)
    write_log(tmp_path, [{"loss": 1.0}])
    with pytest.raises(DataError, match="not a training log"):
        read_cost(tmp_path, 64)
    (tmp_path / "log.jsonl").write_text('{"step": 3, "attnpo/accuracy": 1}\n{"st')
    assert (read_cost(tmp_path, 64).steps, len(read_cost(tmp_path, 64).log)) == (3, 1)


def test_runs_off_the_budget_are_told(base, rows):
    assert method_table(base, rows, budget=80_000).caveats == ()
    caveats = method_table(base, rows, budget=160_000).caveats
    assert len(caveats) == 5
    assert caveats[0] == "sgrpo/1 sampled 80,000 tokens, 50 % of the budget."


def test_evaluations_made_otherwise_are_refused_unless_the_row_needs_it(tmp_path, base, rows):
    other = trained_row(tmp_path, "autothink", changes={"settings": {"opening": "<think>"}})
    with pytest.raises(DataError, match="opening"):
        method_table(base, [*rows, other])
    allowed = TrainedRow(other.name, other.group, other.folders, other.costs, other.about, ("opening",))
    (caveat,) = method_table(base, [*rows, allowed]).caveats
    assert "autothink/1" in caveat


def test_without_rows(base):
    with pytest.raises(DataError, match="no finished cell"):
        method_table(base, [])


def test_markdown(table):
    text = table_markdown(table)
    lines = text.splitlines()
    header, base_line = lines[0], next(line for line in lines if line.startswith("| base |"))
    for title in ("accuracy, %", "tokens", "AES", "redundant steps", "extra tokens", "extra pass tokens", "steps"):
        assert f"| {title} |" in header
    tables = [block.splitlines() for block in text.split("\n\n") if block.startswith("|")]
    assert len(tables) == 6  # main, against the start and two references, difficulty, credit
    assert all(len({line.count(" | ") for line in block[2:]}) == 1 for block in tables)
    interval = table.rows[0].comparison.values["response_tokens"]
    assert interval.format(1) in base_line
    assert base_line.endswith("| – | – | – |")
    assert "Not there yet: attnpo/2." in text
    assert "### Differences from tlmre" in text
    assert text.index("### Differences from base, problem by problem") < text.index("### Differences from tlmre")


def test_advantage_taken_away_and_put_on_is_a_mean_over_runs(base, rows):
    """By name, of what every run of a row logged; rows whose logs do not say are left out."""
    first, *others = rows
    masses = [{"verdict/positive_removed": share, "outcome/negative_added": 0.0} for share in (0.2, 0.3)]
    masses[1]["verdict/positive_added"] = 0.5
    costs = {s: replace(c, mass=m) for (s, c), m in zip(first.costs.items(), masses, strict=True)}
    made = method_table(base, [replace(first, costs=costs), *others])
    text = table_markdown(made)
    assert "### Advantage taken away and put on, %" in text
    assert f"| {first.name} | 25.0 | – | – | – | – | – | – | 0.0 |" in text
    assert len(mass_table(made).rows) == 1
    assert 'id="mass"' in render_method_page(made, "t", ABOUT)
    assert "Advantage taken away" not in table_markdown(method_table(base, others))


def test_csv_and_json_hold_the_same_numbers(table):
    content = json.loads(table_json(table, ABOUT))
    assert (content["date"], content["missing"], content["level"]) == ("2026-01-02", ["attnpo/2"], 0.95)
    lines = list(csv.DictReader(io.StringIO(table_csv(table))))
    keys = Counter((line["row"], line["against"], line["of"], line["metric"]) for line in lines)
    assert max(keys.values()) == 1
    found = {(line["row"], line["against"], line["of"], line["metric"]): float(line["value"]) for line in lines}
    for name, stored in content["rows"].items():
        assert found[name, "", "", "accuracy"] == stored["values"]["accuracy"]["value"]
    assert found["sgrpo", "", "training", "extra_tokens"] == content["rows"]["sgrpo"]["costs"]["extra_tokens"]["value"]
    assert (
        found["attnpo", "tlmre", "", "response_tokens"]
        == content["against"]["tlmre"]["attnpo"]["differences"]["response_tokens"]["value"]
    )
    assert (
        found["base", "", "difficulty=1", "accuracy"]
        == content["rows"]["base"]["by_difficulty"]["1"]["values"]["accuracy"]["value"]
    )
    assert ("tlmre", "tlmre", "", "response_tokens") not in found


class Cells(HTMLParser):
    """Collects the cells of every sortable table, row by row."""

    def __init__(self, page):
        super().__init__()
        self.tables, self.inside = [], False
        self.feed(page)

    def handle_starttag(self, tag, attributes):
        found = dict(attributes)
        if tag == "table":
            self.inside = "sortable" in (found.get("class") or "")
            if self.inside:
                self.tables.append([])
        elif self.inside and tag == "tr":
            self.tables[-1].append([])
        elif self.inside and tag in ("td", "th"):
            self.tables[-1][-1].append((tag, found.get("data-best"), found.get("data-value")))


def test_the_page(table):
    page = render_method_page(table, "Our <table>", ABOUT)
    assert "Our &lt;table&gt;" in page
    assert "eight &lt;exits&gt;" in page
    assert "AttnPO against TLMRE, at the same number of sampled tokens: " in page
    assert "Not there yet: attnpo/2" in page
    assert not re.findall(r"""(?:src|href)=["'](?!#)""", page)
    for id_ in ("result", "against-base", "against-tlmre", "against-attnpo", "credit", "difficulty", "training", "how"):
        assert f'id="{id_}"' in page
        assert f'href="#{id_}"' in page
    tables = Cells(page).tables
    assert [len(t) - 1 for t in tables] == [4, 3, 2, 2, 3, 4]
    for rows in tables:
        assert len({len(cells) for cells in rows}) == 1
        assert all(best in ("ascending", "descending") for _, best, _ in rows[0][1:])
    tokens = [float(cells[2][2]) for cells in tables[0][1:]]
    assert tokens == [r.comparison.values["response_tokens"].value for r in table.rows]


def test_the_headline_claims_no_more_than_the_intervals(base, rows, tmp_path):
    page = render_method_page(method_table(base, rows, ("tlmre",)), "t", ABOUT)
    headline = re.search(r"<h1>(.*?)</h1>", page)[1]
    difference = method_table(base, rows, ("tlmre",)).against["tlmre"][-1].differences["response_tokens"]
    assert difference.high < 0
    assert f"−{abs(difference.value):.1f} tokens a response" in headline
    assert "no measurable difference in accuracy" in headline
    alone = render_method_page(method_table(base, rows[:1], ("tlmre",)), "t", ABOUT)
    assert "1 method trained from the same model" in alone


def test_the_mean_of_curves():
    logs = [
        [{"step": s, "attnpo/sampled_tokens": 1000.0 * s * k, "attnpo/accuracy": k + s} for s in (1, 2, 3)]
        for k in (1, 3)
    ]
    xs, ys = mean_curve(logs, "attnpo/accuracy")
    assert (xs, ys) == ([2, 4, 6], [3, 4, 5])
    # A step that one run did not make is left out, and without counted tokens steps are the axis.
    logs[1].pop()
    assert mean_curve(logs, "attnpo/accuracy") == ([2, 4], [3, 4])
    for log in logs:
        for line in log:
            del line["attnpo/sampled_tokens"]
    assert mean_curve(logs, "attnpo/accuracy") == ([1, 2], [3, 4])
    assert mean_curve(logs, "reward") is None
    assert mean_curve([], "reward") is None


def test_a_chart_for_every_row_and_quantity(table):
    marks = {r.name: row_mark(r) for r in table.rows}
    groups = curve_groups(table, marks)
    assert [title for title, _ in groups] == ["Response length", "Answered right"]
    for _, by_group in groups:
        assert [(group, [name for name, _ in panels]) for group, panels in by_group] == [
            ("published methods", ["sgrpo", "tlmre"]),
            ("AttnPO", ["attnpo"]),
        ]


def names_in(drawing):
    return set(re.findall(r'class="name">([^<]+)<', drawing.read_text()))


def test_the_figure(table, tmp_path):
    (path,) = save_method_frontiers(table, tmp_path / "frontier.png")
    assert path.read_bytes().startswith(b"\x89PNG")
    (path,) = save_method_frontiers(table, tmp_path / "frontier.svg")
    assert names_in(path) == {"sgrpo", "tlmre", "attnpo", "Starting model"}


def test_ablations_and_controls_have_a_figure_of_their_own(table, tmp_path):
    extra = [replace(table.rows[-1], name=group, group=group) for group in ("ablation", "control", "bound", "options")]
    whole = replace(table, rows=[*table.rows, *extra])
    first, second = save_method_frontiers(whole, tmp_path / "frontier.svg")
    assert [first.name, second.name] == ["frontier.svg", "frontier-ablations.svg"]
    names = {path: names_in(path) for path in (first, second)}
    kinds = {"ablation", "control", "bound", "options"}
    assert {"Starting model", "tlmre", "attnpo", "sgrpo"} <= names[first]
    assert not kinds & names[first]
    assert {"Starting model", "tlmre", "attnpo", *kinds} <= names[second]
    assert "sgrpo" not in names[second]
