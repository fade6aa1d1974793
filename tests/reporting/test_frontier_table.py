"""Methods over their strength: numbers the long way, what is tested, what is left open, files."""

from __future__ import annotations

import json
import random
import re
from dataclasses import replace

import numpy as np
import pytest
from measured import evaluation, rollout, save
from reproduced import measure, trained_row
from strength_rows import FAMILY, FEW, PLAN, strengths

from attnpo.evaluation.result import EvaluationResult
from attnpo.reporting.reproduction import (
    CoursePoint,
    frontier_json,
    frontier_markdown,
    frontier_table,
    save_frontier_curves,
)
from attnpo.reporting.reproduction.frontier_exports import UNPLANNED
from attnpo.reporting.reproduction.frontier_picture import frontier_panels
from attnpo.reporting.reproduction.frontier_table import CurveTest
from attnpo.rollouts import Step
from attnpo.significance import Estimate


@pytest.fixture
def base(tmp_path):
    return measure(tmp_path / "base", "base", 0)


@pytest.fixture
def rows(tmp_path):
    return [
        trained_row(tmp_path, "rloo", (1, 2, 3), 0.2, 0),
        *strengths(tmp_path, "tlmre", [("0.1", 0.2, 4), ("0.2", 0.1, 30), ("0.4", 0.0, 50)]),
        *strengths(tmp_path, "attnpo", [("0.1", 0.25, 4), ("0.2", 0.2, 40)], group="attnpo"),
        *strengths(tmp_path, "shuffled", [("0.1", 0.2, 2), ("0.3", 0.2, 45)], group="control", control_of="attnpo"),
    ]


@pytest.fixture
def table(base, rows):
    return frontier_table(base, rows, PLAN, FAMILY, FEW)


def plain(row, column):
    tables = [EvaluationResult.load(folder / "evaluation.json").problems for folder in row.folders.values()]
    return float(np.mean([t.column(column).sum() / t.column("responses").sum() for t in tables]))


def test_accuracy_at_equal_length_the_long_way(table, rows):
    by_name = {row.name: row for row in rows}
    points = sorted(
        (plain(by_name[n], "response_tokens"), plain(by_name[n], "correct")) for n in by_name if "tlmre" in n
    )
    for place in PLAN.at_tokens:
        expected = np.interp(place, *zip(*points, strict=True))
        assert table.accuracy["tlmre"][place].value == pytest.approx(expected)
        ours = table.accuracy["attnpo"][place].value
        gap = table.accuracy_gaps["tlmre"]["attnpo"][place]
        assert gap.value == pytest.approx(ours - expected)
        assert gap.df >= 2
        assert gap.error > 0
    assert list(table.accuracy_gaps) == ["tlmre"]  # there is no truncation yet
    assert set(table.accuracy_gaps["tlmre"]) == {"rloo", "attnpo", "shuffled"}


def own_gaps(ours, theirs, metric="accuracy"):
    """Each run less the other curve of its seed, read off the evaluation files: seed → gaps of its strengths."""

    def read(row, seed):
        overall = EvaluationResult.load(row.folders[seed] / "evaluation.json").overall
        return overall.response_tokens.value, getattr(overall, metric).value

    found = {}
    for seed in (1, 2, 3):
        points = sorted(read(row, seed) for row in theirs)
        for tokens, accuracy in (read(row, seed) for row in ours):
            if points[0][0] <= tokens <= points[-1][0]:
                found.setdefault(seed, []).append(accuracy - np.interp(tokens, *zip(*points, strict=True)))
    return found


def test_runs_against_the_curve_of_their_own_seed(base, rows, tmp_path):
    later = strengths(tmp_path, "later", [("0.1", 0.2, 4), ("0.2", 0.1, 30)], seeds=(4, 5, 6))
    table = frontier_table(base, [*rows, *later], PLAN, FAMILY, FEW)
    assert set(table.run_gaps) == {
        ("rloo", "tlmre"), ("attnpo", "tlmre"), ("shuffled", "tlmre"), ("shuffled", "attnpo"), ("later", "tlmre")
    }  # fmt: skip
    gap = table.run_gaps["attnpo", "tlmre"]
    expected = own_gaps(*([row for row in rows if row.curve == name] for name in ("attnpo", "tlmre")))
    assert gap.difference.value == pytest.approx(np.mean([np.mean(own) for own in expected.values()]))
    assert (gap.seeds, gap.within, gap.runs) == (len(expected), sum(map(len, expected.values())), 6)
    assert gap.difference.error > 0
    assert table.run_gaps["later", "tlmre"].difference is None  # no run of its seeds is there
    assert table.leave_one_out.keys() == {"tlmre"}
    assert table.leave_one_out["tlmre"].runs == 9
    assert (table.run_gaps["later", "tlmre"].within, table.run_gaps["later", "tlmre"].runs) == (0, 6)


def test_a_plan_by_run_tests_those(base, rows, table, tmp_path):
    by_run = frontier_table(base, rows, PLAN.model_copy(update={"by_run": True}), FAMILY, FEW)
    test, raw = by_run.tests["tlmre"]["attnpo"], table.run_gaps["attnpo", "tlmre"].difference
    assert test.difference == raw
    assert test.p == pytest.approx(min(1, 3 * raw.p_differs()))  # truncation and lcr1 are not there yet
    assert by_run.accuracy_gaps == table.accuracy_gaps
    text = frontier_markdown(by_run, FAMILY)
    assert "Primary: accuracy of each run against tlmre's curve of its own seed" in text
    assert "### Each run against the curve of its own seed, points (primary)" in text
    assert re.search(r"^\| attnpo less tlmre \|.*\| 3 \| \d of 6 \| .* \| (open|.* accurate|equal.*) \|$", text, re.M)
    assert re.search(r"^\| shuffled less attnpo \|.*\| – \| – \| not tested \|$", text, re.M)
    assert "| curve | 120 tokens | 110 tokens |\n" in text
    assert "| tlmre less itself |" in text
    assert UNPLANNED not in text
    second = PLAN.model_copy(update={"by_run": True, "against": ("tlmre", "shuffled")})
    other = frontier_markdown(frontier_table(base, rows, second, FAMILY, FEW), FAMILY)
    assert "| attnpo less tlmre |" in other
    assert "| attnpo less shuffled (secondary) |" in other
    assert UNPLANNED in frontier_markdown(table, FAMILY)


def labelled(row, steps_of_seed):
    """Measure a row's runs again with so many redundant steps in every second response, one in the others."""
    for seed, folder in row.folders.items():
        result = EvaluationResult.load(folder / "evaluation.json")
        rng = random.Random(seed)
        lengths = [int(n) for n in result.problems.column("response_tokens")]
        found = []
        for i, tokens in enumerate(lengths):
            count = steps_of_seed[seed] if i % 2 else 1
            steps = tuple(Step((0, 0), (k, k + 1), label="redundant") for k in range(count))
            found.append(rollout(f"{1 + i % 3}{i:02}", rng.random() < 0.5, tokens, steps=steps))
        save(evaluation(row.name, found, dataset="small world"), folder)
    return row


def test_what_else_runs_have_against_the_curve_of_their_own_seed(base, rows):
    """Equal length and accuracy may hide it."""
    counts = {"tlmre-0.1": 4, "tlmre-0.2": 3, "tlmre-0.4": 2, "attnpo-0.1": 6, "attnpo-0.2": 5}
    kept = [row for row in rows if row.name in counts]
    made = [labelled(row, {seed: counts[row.name] + seed for seed in row.folders}) for row in kept]
    table = frontier_table(base, made, PLAN, FAMILY, FEW)
    expected = own_gaps(*([r for r in made if r.curve == name] for name in ("attnpo", "tlmre")), "redundant_steps")
    gap = table.beside_runs["redundant_steps"]["attnpo", "tlmre"]
    assert gap.difference.value == pytest.approx(np.mean([np.mean(own) for own in expected.values()]))
    assert gap.difference.value > 0.5
    assert "count:slips_mended" not in table.beside_runs
    text = frontier_markdown(table, FAMILY)
    assert "### What else each run has, less the curve of its own seed" in text
    assert re.search(r"^\| difference \| essential steps \| redundant steps \|$", text, re.M)
    content = json.loads(frontier_json(table, FAMILY, {}))
    assert content["beside_runs"]["redundant_steps"]["attnpo less tlmre"]["within"] == gap.within


def test_a_curve_less_its_own_double_is_nothing(base, rows):
    """The same runs under another name: resamples of problems are the same, so neither value nor error is left."""
    double = [replace(row, curve="double", name=f"double-{row.strength}") for row in rows if row.curve == "tlmre"]
    gap = frontier_table(base, [*rows, *double], PLAN, FAMILY, FEW).run_gaps["double", "tlmre"]
    assert gap.within == gap.runs == 9
    assert (gap.difference.value, gap.difference.error) == pytest.approx((0, 0), abs=1e-12)


def test_what_a_curve_does_not_reach_is_not_known(table):
    assert table.accuracy["rloo"][110] is None
    assert table.tests["tlmre"]["rloo"].verdict == "not known"
    assert table.tests["tlmre"]["rloo"].p is None


def test_holm_counts_the_family_that_was_planned(table):
    test = table.tests["tlmre"]["attnpo"]
    raw = table.accuracy_gaps["tlmre"]["attnpo"][110]
    # attnpo is alone there of three that were planned: truncation and lcr1 count as not significant
    assert test.p == pytest.approx(min(1, 3 * raw.p_differs()))
    assert test.p_equal == pytest.approx(min(1, 3 * raw.p_equivalent(0.05)))
    control = table.tests["tlmre"]["shuffled"]
    assert not control.in_family
    assert (control.p, control.p_equal, control.verdict) == (None, None, "not tested")
    assert table.accuracy_gaps["tlmre"]["shuffled"][110] is not None


def test_equality_may_be_tested_for_fewer_curves_than_difference(base, rows):
    table = frontier_table(base, rows, PLAN.model_copy(update={"equal": ("attnpo",)}), FAMILY, FEW)
    test, raw = table.tests["tlmre"]["attnpo"], table.accuracy_gaps["tlmre"]["attnpo"][110]
    assert test.p_equal == pytest.approx(raw.p_equivalent(0.05))  # alone, so nothing is adjusted
    assert test.p == pytest.approx(min(1, 3 * raw.p_differs()))
    others = frontier_table(base, rows, PLAN.model_copy(update={"equal": ("lcr1",)}), FAMILY, FEW)
    assert others.tests["tlmre"]["attnpo"].p_equal is None
    assert others.tests["tlmre"]["attnpo"].verdict in ("open", "more accurate", "less accurate")
    assert "a margin of 5 points, Holm over lcr1." in frontier_markdown(others, FAMILY)


def test_a_length_that_could_be_less_is_a_bound(base, rows):
    """The shortest strength of attnpo still has half of the answers right."""
    plan = PLAN.model_copy(update={"at_accuracy": (0.5,)})
    table = frontier_table(base, rows, plan, FAMILY, FEW)
    curve = next(curve for curve in table.curves if curve.name == "attnpo")
    assert table.tokens["attnpo"][0.5] is None
    most = min(curve.draws.tokens_DK[0])
    assert f"| attnpo | attnpo | 3 | ≤ {most:.1f} |" in frontier_markdown(table, FAMILY)
    content = json.loads(frontier_json(table, FAMILY, {}))
    assert content["curves"]["attnpo"]["most_tokens_at_accuracy"] == {"0.5": pytest.approx(most)}


@pytest.mark.parametrize(
    ("value", "p", "p_equal", "said"),
    [
        (0.1, 0.01, 0.9, "more accurate"),
        (-0.1, 0.01, 0.9, "less accurate"),
        (-0.01, 0.04, 0.01, "less accurate, equal within the margin"),
        (0.0, 0.9, 0.01, "equal within the margin"),
        (0.0, 0.9, 0.2, "open"),
    ],
)
def test_verdicts(value, p, p_equal, said):
    assert CurveTest(Estimate(value, 0.01, 4), p, p_equal, True).verdict == said
    bent = CurveTest(Estimate(value, 0.01, 4), p, p_equal, True, within_bend=True).verdict
    assert bent == re.sub(r"(\w+ accurate)", r"\1 (not beyond the bend of the curve)", said)


def test_controls_are_held_against_the_same_strength(table, rows):
    (gap,) = table.controls
    by_name = {row.name: row for row in rows}
    assert (gap.control, gap.method, gap.strength) == ("shuffled", "attnpo", "0.1")
    expected = plain(by_name["shuffled-0.1"], "response_tokens") - plain(by_name["attnpo-0.1"], "response_tokens")
    assert gap.differences["response_tokens"].value == pytest.approx(expected)


def test_seeds_that_one_strength_lacks_are_left_out_and_told(base, rows, tmp_path):
    short = strengths(tmp_path / "more", "alp", [("1", 0.2, 10)]) + strengths(
        tmp_path / "more", "alp", [("2", 0.1, 30)], seeds=(2, 3, 4)
    )
    table = frontier_table(base, [*rows, *short], PLAN, FAMILY, FEW)
    curve = next(c for c in table.curves if c.name == "alp")
    assert curve.seeds == (2, 3)
    assert table.caveats == ("alp: seeds 1, 4 are not there at every strength and left out of its curve.",)


def test_one_run_tells_nothing_of_runs(base, tmp_path):
    rows = strengths(tmp_path, "tlmre", [("0.1", 0.2, 10), ("0.2", 0.1, 40)], seeds=(1,))
    rows += strengths(tmp_path, "attnpo", [("0.1", 0.2, 10), ("0.2", 0.1, 40)])
    table = frontier_table(base, rows, PLAN, FAMILY, FEW)
    assert table.accuracy["tlmre"][110] is None
    assert table.tests["tlmre"]["attnpo"].verdict == "not known"


def test_tokens_until_the_target_by_hand(base, rows, tmp_path):
    """Lengths on the way: base, 10 shorter at 20,000 tokens, 30 at 40,000, as in the end at 80,000."""
    timed = []
    for row in rows:
        course = {
            seed: tuple(
                CoursePoint(sampled, measure(tmp_path / row.name / f"{seed}-{n}", row.name, seed, 0.3, shorter))
                for n, (sampled, shorter) in enumerate([(20_000.0, 5), (40_000.0, 30)])
            )
            for seed in row.folders
        }
        timed.append(replace(row, course=course))
    table = frontier_table(base, timed, PLAN, FAMILY, FEW)
    start, row = EvaluationResult.load(base / "evaluation.json").problems, timed[1]
    lengths = [start.column("response_tokens").mean()]
    for n in range(2):
        points = [row.course[seed][n].folder for seed in row.folders]
        lengths.append(plain(replace(row, folders=dict(enumerate(points))), "response_tokens"))
    piece = next(i for i in range(2) if lengths[i] > 125 >= lengths[i + 1])
    share = (lengths[piece] - 125) / (lengths[piece] - lengths[piece + 1])
    curve = next(c for c in table.curves if c.name == "tlmre")
    assert curve.times[row.name][0] == pytest.approx(20_000 * (piece + share))
    # Between the two strengths that end above and below 110 tokens, whatever other strengths there are.
    ends = [(plain(r, "response_tokens"), curve.times[r.name][0]) for r in reversed(timed[1:4])]
    assert table.times["tlmre"].value == pytest.approx(np.interp(110, *zip(*ends, strict=True)))
    fewer = frontier_table(base, [timed[0], *timed[2:]], PLAN, FAMILY, FEW)
    between = [place for place, _ in ends][:2]
    assert between[0] < 110 < between[1]
    (stronger,) = (c for c in fewer.curves if c.name == "tlmre")
    assert stronger.time_at(110)[0] == pytest.approx(table.times["tlmre"].value)
    assert table.time_gaps["tlmre"]["attnpo"] is not None
    # RLOO has no dial: its own time, wherever it ends.
    rloo = next(c for c in table.curves if c.name == "rloo")
    assert table.times["rloo"].value == pytest.approx(rloo.times["rloo"][0])
    assert "### Tokens sampled until the target, thousands" in frontier_markdown(table, FAMILY)


def test_strengths_without_a_time_are_told(base, rows, tmp_path):
    course = {
        seed: tuple(
            CoursePoint(sampled, measure(tmp_path / f"way{seed}-{n}", "tlmre-0.2", seed, 0.3, 30))
            for n, sampled in enumerate((20_000.0, 40_000.0))
        )
        for seed in (1, 2, 3)
    }
    timed = [replace(row, course=course) if row.name.startswith(("tlmre-0.2", "rloo")) else row for row in rows]
    plan = PLAN.model_copy(update={"target": PLAN.target.model_copy(update={"accuracy": 0.99})})
    caveats = frontier_table(base, timed, plan, FAMILY, FEW).caveats
    assert "tlmre: no time until the target for tlmre-0.1, tlmre-0.4: no models on the way at every seed." in caveats
    assert "tlmre: no time until the target for tlmre-0.2: never as short and right as asked." in caveats


def test_what_is_written(table, tmp_path):
    text = frontier_markdown(table, FAMILY)
    assert (
        "Primary: accuracy at 110 tokens a response against tlmre, two-sided, Holm over attnpo, truncation, lcr1."
        in text
    )
    assert "margin of 5 points" in text
    assert "Secondary: the same against truncation, with Holm of its own." in text
    assert "| curve | 120 tokens | 110 tokens (primary) | p |" in text
    assert "| shuffled (not in the family) |" in text
    assert "| shuffled less attnpo | 0.1 |" in text
    content = json.loads(frontier_json(table, FAMILY, {"date": "2026-01-02"}))
    assert content["plan"]["primary"] == 110
    assert content["against"]["tlmre"]["attnpo"]["accuracy_at_tokens"]["110"]["df"] >= 2
    assert "| shuffled less attnpo |" in text
    gap = content["run_gaps"]["attnpo less tlmre"]
    assert gap["difference"]["value"] == pytest.approx(table.run_gaps["attnpo", "tlmre"].difference.value)
    assert (gap["seeds"], gap["runs"]) == (3, 6)
    panels = frontier_panels(table)
    assert [panel.title for panel in panels] == ["attnpo, 3 runs", "shuffled, 3 runs"]
    shared = {tuple(re.findall(r">(\d+) %<", str(panel.svg))) for panel in panels}
    assert len(shared) == 1, "charts to be compared share the vertical axis"
    assert len({tuple(re.findall(r">(\d+)<", str(panel.svg))) for panel in panels}) == 1, "and the horizontal one"
    assert [[mark.title for mark in panel.marks] for panel in panels] == [
        ["tlmre", "attnpo"], ["tlmre", "attnpo", "shuffled"]
    ], "a control beside what it controls"  # fmt: skip
    assert save_frontier_curves(table, tmp_path / "frontier.png").read_bytes().startswith(b"\x89PNG")
