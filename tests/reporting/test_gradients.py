from __future__ import annotations

import re

import pytest

from attnpo.gradients import GradientsResult
from attnpo.gradients.result import CreditRow, Known
from attnpo.reporting.gradients import (
    _point,
    family_panels,
    gradients_markdown,
    gradients_table,
    left_out,
    said,
    save_gradients,
)

MEASURES = ("accuracy", "tokens_saved", "tokens_for_noise", "accuracy_for_noise")


def row(name: str, family: str, strength: float | None, saved: float, gained: float | None) -> CreditRow:
    measures = dict.fromkeys(MEASURES, Known(value=saved, error=0.5, df=3))
    measures["accuracy_for_noise"] = Known(value=gained, error=None if gained is None else 0.01, df=3)
    cosines = dict.fromkeys(("accuracy", "tlmre 0.2", "tlmre 0.6", "attnpo 0.6"), Known(value=0.5, error=0.1))
    return CreditRow(
        name=name,
        family=family,
        strength=strength,
        beside="accuracy",
        measures={"plain": measures, "adam": measures},
        cosines={"plain": cosines, "adam": cosines},
    )


@pytest.fixture
def result() -> GradientsResult:
    return GradientsResult(
        model="tiny",
        source="data",
        batches=4,
        problems_per_batch=2,
        group_size=8,
        accuracy=0.5,
        tokens=100.25,
        parameters=1000,
        sketch=None,
        heads=[],
        progress_step=0,
        rows=[
            row("accuracy", "accuracy", None, -0.3, 0.11),
            row("tlmre 0.2", "tlmre", 0.2, 0.1, 0.09),
            row("tlmre 0.6", "tlmre", 0.6, 0.4, 0.02),
            row("attnpo 0.6", "attnpo", 0.6, 0.3, None),
        ],
        left_out={"lcr1": "draws responses of its own"},
    )


@pytest.mark.parametrize(
    ("value", "error", "text"),
    [
        (0.3391, 0.0324, "0.339 ±0.032"),
        (0.0, 0.0, "0.000 ±0.000"),
        (0.00001234, 0.000001, "1.23e-05 ±1e-06"),
        (123456.0, None, "1.23e+05"),
        (None, None, "–"),
    ],
)
def test_a_value_with_its_error(value, error, text):
    assert said(Known(value=value, error=error), 3) == text


def test_tables(result):
    rows = gradients_table(result, "plain").rows
    assert [r.head for r in rows] == ["accuracy", "tlmre 0.2", "tlmre 0.6", "attnpo 0.6"]
    assert rows[1].cells[1] == "0.1 ±0.5"
    text = gradients_markdown(result)
    assert "64 responses of tiny in 4 batches of 2 × 8: 50.0 % right, 100.2 tokens" in text
    assert "| credit | accuracy | tlmre 0.2 | tlmre 0.6 |" in text
    assert "Left out: lcr1: draws responses of its own." in text
    assert "Epsilon" not in text  # an older file, whose weights had none
    plain, adam = gradients_markdown(result.model_copy(update={"adam_epsilon": 0.01})).split("## Adam's metric")
    assert "Epsilon: 1 % of the root mean square" in adam
    assert "Epsilon" not in plain


def test_picture_joins_the_strengths_of_a_method(result, tmp_path):
    drawn = save_gradients(result, tmp_path / "g.svg").read_text()
    assert drawn.count("Adam&#39;s metric") >= 1
    for title in ("accuracy", "tlmre"):
        assert f">{title}</text>" in drawn
    (curve,) = {path.count("L") for path in re.findall(r'd="(M[^"]*)" class="line"', drawn)}
    assert curve == 1  # two strengths; a point that is not known is left out
    assert "accuracy: -0.3" in drawn
    # Student's t with 3 degrees of freedom, 3.18 standard errors of 0.01
    _, interval = _point(result.row("accuracy"), "plain")
    assert (interval.low, interval.high) == pytest.approx((0.11 - 0.0318245, 0.11 + 0.0318245), abs=1e-6)


def test_many_methods_have_a_chart_each_beside_tlmre(result, tmp_path):
    more = [row(f"alp beta={n} {x}", f"alp beta={n}", x, 0.1 + x, 0.05) for n in range(6) for x in (0.1, 0.2)]
    many = result.model_copy(update={"rows": [*result.rows, *more]})
    panels = family_panels(many, ["accuracy", "tlmre", "attnpo", *dict.fromkeys(each.family for each in more)])
    assert [panel.title for panel in panels] == ["accuracy", *(f"alp beta={n}" for n in range(6))]
    axes = {tuple(re.findall(r'text-anchor="end"[^>]*>(-?[\d.]+)<', str(panel.svg))) for panel in panels}
    assert len(axes) == 1, "charts to be compared share the vertical axis"
    assert min(map(len, axes)) > 1
    for number, panel in enumerate(panels[1:]):
        assert "tlmre 0.6" in str(panel.svg)
        assert f"alp beta={number} 0.2" in str(panel.svg)
    assert save_gradients(many, tmp_path / "g.svg").read_text().count("tokens saved for the noise of a step") >= 7
    untold = many.model_copy(update={"rows": [each for each in many.rows if each.family != "tlmre"]})
    assert family_panels(untold, ["accuracy", "alp beta=0"]) == []


def test_what_is_left_out_is_told_by_reason(result):
    own, labels = "draws responses of its own", "reads labels"
    left = result.model_copy(update={"left_out": {"lcr1": own, "oracle 0.2": labels, "step_grpo": own}})
    assert left_out(left) == f"Left out: lcr1, step_grpo: {own}; oracle 0.2: {labels}."
