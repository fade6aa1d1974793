"""Methods over their strength: numbers the long way, what is tested, what is left open, files."""

from __future__ import annotations

import itertools
import json
import random
import re
from dataclasses import replace

import numpy as np
import pytest
from measured import evaluation, rollout, save
from reproduced import measure, trained_row

from attnpo.evaluation.comparison import Bootstrap
from attnpo.evaluation.result import EvaluationResult
from attnpo.frontier_plan import FrontierPlan
from attnpo.gradients import CreditRow, GradientsResult
from attnpo.gradients.result import Known
from attnpo.reporting.reproduction import (
    CoursePoint,
    frontier_json,
    frontier_markdown,
    frontier_table,
    ranked,
    save_frontier_curves,
)
from attnpo.reporting.reproduction.frontier_exports import UNPLANNED
from attnpo.reporting.reproduction.frontier_picture import frontier_panels
from attnpo.reporting.reproduction.frontier_table import Agreement, CurveTest
from attnpo.reporting.reproduction.ranking import FORETOLD, chance, credit_key, spearman
from attnpo.rollouts import Step
from attnpo.significance import Estimate

PLAN = FrontierPlan(
    against=("tlmre", "truncation"),
    at_tokens=(120, 110),
    primary=110,
    at_accuracy=(0.6,),
    margin=0.05,
    target={"tokens": 125, "accuracy": 0.5},
)
FAMILY = ["tlmre", "attnpo", "truncation", "lcr1"]
FEW = Bootstrap(n_resamples=300)


def strengths(path, name, dials, seeds=(1, 2, 3), group="main", control_of=""):
    """One row a strength: (strength, better, shorter)."""
    return [
        replace(
            trained_row(path, f"{name}-{strength}", seeds, better, shorter, group),
            curve=name,
            strength=strength,
            control_of=control_of,
        )
        for strength, better, shorter in dials
    ]


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


def gradients_of(heights):
    """Credits of two strengths each, which save 20 and 60 tokens: method, name of its setting, height at 40."""
    rows = [
        CreditRow(
            name=f"{method} {value}",
            family=method,
            strength=value,
            beside="accuracy",
            method=method,
            settings={dial: value},
            measures={
                "plain": {
                    "tokens_saved": Known(value=400 * value - 20, error=1),
                    **{name: Known(value=height + off, error=0.1) for name in FORETOLD},
                }
            },
            cosines={},
        )
        for method, dial, height in heights
        for value, off in ((0.1, -0.1), (0.2, 0.1))
    ]
    known = {"model": "tiny", "source": "data", "batches": 8, "problems_per_batch": 2, "group_size": 8, "accuracy": 0.5}
    more = {"tokens": 100.0, "parameters": 9, "sketch": None, "heads": [], "progress_step": 0, "left_out": {}}
    return GradientsResult(**known, **more, rows=rows)


METHODS = [("attnpo", "alpha_len", 0.0), ("alp", "beta", 0.1), ("lcr1", "length_weight", 0.2), ("ddca", "beta", 0.3)]


@pytest.fixture
def dialled(tmp_path):
    """TLMRE, four methods, the more accurate the later, and one of them with wrong heads; two strengths each."""
    rows = strengths(tmp_path, "tlmre", [("0.1", 0.1, 4), ("0.2", 0.1, 45)])
    for method, dial, better in METHODS:
        for row in strengths(tmp_path, method, [("0.1", better, 4), ("0.2", better, 45)]):
            value = float(row.strength)
            rows.append(replace(row, about={"method": method, "settings": {dial: value}, "heads": "chosen"}))
    wrong = strengths(tmp_path, "wrong", [("0.1", 0.45, 4), ("0.2", 0.45, 45)])
    rows += [replace(row, about=rows[2].about | {"heads": "wrong"}) for row in wrong]
    rows[:2] = [
        replace(row, about={"method": "tlmre", "settings": {"alpha_len": float(row.strength)}}) for row in rows[:2]
    ]
    return rows


NAMES = tuple(method for method, *_ in METHODS)


@pytest.mark.parametrize(("sign", "rho"), [(1, 1.0), (-1, -1.0)])
def test_the_order_of_gradients_beside_that_of_trained_curves(base, dialled, sign, rho):
    table = frontier_table(base, dialled, PLAN, FAMILY, FEW)
    gradients = gradients_of([(method, dial, sign * better) for method, dial, better in METHODS])
    held = ranked(table, gradients)
    found = held.ranking
    assert [(f.metric, f.measure, f.accuracy.curves) for f in found] == [("plain", name, NAMES) for name in FORETOLD]
    assert found[0].accuracy.correlation.value == pytest.approx(rho)
    assert found[0].accuracy.correlation.error == 0  # a seed moves all curves alike, so that none overtakes another
    assert found[0].time == Agreement((), None)  # nothing was timed
    said = "Gradients, plain: read where a unit step saves 40 tokens, which attnpo, alp, lcr1, ddca reach."
    assert held.caveats == (*table.caveats, said)
    text = frontier_markdown(held, FAMILY)
    assert f"| above TLMRE's curve | plain | {rho:.2f} [" in text
    assert "### One gradient beside the runs, plain metric" in text
    gap = held.accuracy_gaps["tlmre"]["lcr1"][110].interval(held.level)
    shown = rf"^\| lcr1 \| {sign * 0.2:.3f} \| {sign * 0.2:.3f} \| {sign * 0.2:.3f} \| {100 * gap.value:.1f} \["
    assert re.search(shown.replace("-", "[-−]"), text, re.M)
    (line,) = [line for line in text.splitlines() if line.startswith("| above TLMRE's curve | plain |")]
    assert line.endswith("] | 0.083 | 4 | – | – | 0 |")  # two of the 24 orders of four curves agree or disagree wholly
    written = json.loads(frontier_json(held, FAMILY, {}))["ranking"][0]
    assert written["accuracy"]["correlation"]["value"] == pytest.approx(rho)
    assert written["accuracy"]["curves"] == list(NAMES)
    assert written["accuracy"]["p"] == pytest.approx(2 / 24)
    assert written["time"] == {"curves": [], "correlation": None, "p": None}
    few = ranked(table, gradients_of(METHODS[:3])).ranking
    assert few[0].accuracy == Agreement(NAMES[:3], None)


def test_curves_whose_gain_is_not_known_do_not_count(base, dialled):
    """LC-R1 does not reach the primary length: three curves are left, too few for a correlation."""
    gradients = gradients_of(METHODS)
    short = [row for row in dialled if row.name != "lcr1-0.2"]
    found = ranked(frontier_table(base, short, PLAN, FAMILY, FEW), gradients).ranking
    assert found[0].accuracy == Agreement(("attnpo", "alp", "ddca"), None)


def test_the_order_of_gradients_beside_that_of_times(base, dialled, tmp_path):
    """The better a method, the later it is as short as asked: an order of time saved that is not that of accuracy."""
    timed = []
    for row in dialled[:10]:
        better = dict([("tlmre", 0.1), *((name, better) for name, _, better in METHODS)])[row.curve]
        course = {
            seed: tuple(
                CoursePoint(sampled, measure(tmp_path / f"way-{row.name}-{seed}-{n}", row.name, seed, 0.3, shorter))
                for n, (sampled, shorter) in enumerate([(20_000.0, 12 - round(40 * better)), (40_000.0, 30)])
            )
            for seed in row.folders
        }
        timed.append(replace(row, course=course))
    found = ranked(frontier_table(base, timed, PLAN, FAMILY, FEW), gradients_of(METHODS)).ranking[0]
    assert found.accuracy.correlation.value == pytest.approx(1)
    assert found.time.curves == NAMES
    assert found.time.correlation.value == pytest.approx(-1)


def test_what_is_not_held_against_gradients_is_told(base, dialled):
    table = frontier_table(base, dialled, PLAN, FAMILY, FEW)
    gradients = gradients_of(METHODS)
    rows = [row for row in gradients.rows if row.name != "alp 0.2"]
    held = ranked(table, gradients.model_copy(update={"rows": rows}))
    assert held.caveats == (
        *table.caveats,
        "Gradients, plain: read where a unit step saves 40 tokens, which attnpo, lcr1, ddca reach.",
        "Gradients, plain: alp is left out: one strength alone has a gradient.",
        "alp: no gradient has the settings of alp-0.2.",
    )
    assert held.ranking[0].accuracy == Agreement(("attnpo", "lcr1", "ddca"), None)
    for rows, why in (
        (dialled[2:], "tlmre, which curves are held against, has none yet"),
        (dialled[:2], "no curve that is there yet has a gradient"),
    ):
        table = frontier_table(base, rows, PLAN, FAMILY, FEW)
        held = ranked(table, gradients)
        assert held.ranking == ()
        assert held.caveats == (*table.caveats, f"Gradients are not held against the curves: {why}.")


def test_a_row_without_a_dial_is_held_against_tlmre_at_its_own_change_of_length(base, dialled, tmp_path):
    table = frontier_table(base, [*dialled, trained_row(tmp_path, "rloo", (1, 2, 3), 0.2, 20)], PLAN, FAMILY, FEW)
    gradients = gradients_of(METHODS)
    alone = gradients.rows[0].model_copy(update={"name": "rloo", "method": "rloo", "settings": {}})
    held = ranked(table, gradients.model_copy(update={"rows": [*gradients.rows, alone]}))
    assert held.caveats == (
        *table.caveats,
        "Gradients, plain: read where a unit step saves 40 tokens, which attnpo, alp, lcr1, ddca reach.",
        "Gradients, plain: without a dial, held against TLMRE where that saves as many tokens: rloo (20).",
    )


def test_a_whole_number_is_the_same_setting_however_it_is_written():
    assert credit_key("attnpo", {}, "heads") == credit_key("attnpo", {}) != credit_key("attnpo", {}, "log_prob")
    assert credit_key("attnpo", {}, "nowhere:Signal") != credit_key("attnpo", {})  # nothing is loaded for it
    assert credit_key("dot", {"deviations": 2}) == credit_key("dot", {"deviations": 2.0})
    assert credit_key("dot", {"deviations": 2}) != credit_key("dot", {"deviations": 1.5})


@pytest.mark.parametrize("seed", range(5))
def test_rank_correlation_is_that_of_the_ranks(seed):
    rng = np.random.default_rng(seed)
    first, second = rng.integers(0, 5, (2, 9)).astype(float)

    def ranks(values):
        order = sorted(values)
        return [np.mean([place for place, other in enumerate(order) if other == value]) for value in values]

    assert spearman(first, second) == pytest.approx(np.corrcoef(ranks(first), ranks(second))[0, 1])
    assert np.isnan(spearman(np.ones(3), np.arange(3.0)))


@pytest.mark.parametrize("seed", [0, 1])
def test_chance_is_the_share_of_orders_that_agree_as_much(seed):
    first, second = np.random.default_rng(seed).integers(0, 5, (2, 6)).astype(float)
    found = abs(spearman(first, second))
    orders = [abs(spearman(first, np.array(order))) for order in itertools.permutations(second)]
    assert chance(first, second) == pytest.approx(np.mean([each >= found - 1e-9 for each in orders]))
    assert chance(np.ones(6), second) is None


def test_chance_of_many_curves_is_drawn():
    """Of nine in wholly the same order one in 181,440; of nine in no order at all, nearly all."""
    same = np.arange(9.0)
    assert chance(same, same) < 1e-3
    assert chance(same, np.array([4.0, 8, 0, 5, 1, 7, 3, 2, 6])) > 0.5
