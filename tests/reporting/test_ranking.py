"""One gradient beside the trained curves: what is matched, in which order, how far by chance."""

from __future__ import annotations

import itertools
import json
import re
from dataclasses import replace

import numpy as np
import pytest
from reproduced import measure, trained_row
from strength_rows import FAMILY, FEW, PLAN, strengths

from attnpo.gradients import CreditRow, GradientsResult
from attnpo.gradients.result import Known
from attnpo.reporting.reproduction import CoursePoint, frontier_json, frontier_markdown, frontier_table, ranked
from attnpo.reporting.reproduction.frontier_table import Agreement
from attnpo.reporting.reproduction.ranking import FORETOLD, chance, credit_key, spearman


@pytest.fixture
def base(tmp_path):
    return measure(tmp_path / "base", "base", 0)


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
