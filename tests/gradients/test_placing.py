"""Curves of gradients at one change of length, by hand."""

from __future__ import annotations

import pytest

from attnpo.gradients.placing import Point, placed


def curve(name, *points):
    return [Point(f"{name} {n}", saved, values) for n, (saved, values) in enumerate(points)]


def test_curves_are_read_in_the_middle_of_what_all_of_them_reach():
    found = placed(
        {
            "a": curve("a", (0.0, (0.0, 1.0)), (100.0, (1.0, 3.0))),
            "b": curve("b", (50.0, (7.0, 0.0)), (90.0, (9.0, 0.0)), (130.0, (0.0, 0.0))),
            "one": curve("one", (10.0, (5.0, 5.0))),
        },
        ["one"],
    )
    assert found.place == 75
    assert found.values == {"a": pytest.approx((0.75, 2.5)), "b": pytest.approx((8.25, 0.0)), "one": (5.0, 5.0)}
    assert found.said() == [
        "read where a unit step saves 75 tokens, which a, b reach.",
        "without a dial, held against TLMRE where that saves as many tokens: one (10).",
    ]


def test_where_nothing_is_common_to_all_most_of_them_decide():
    found = placed(
        {
            "a": curve("a", (0.0, (0.0,)), (40.0, (4.0,))),
            "far": curve("far", (200.0, (0.0,)), (300.0, (4.0,))),
            "b": curve("b", (20.0, (1.0,)), (80.0, (1.0,))),
        }
    )
    assert found.place == 30
    assert found.values == {"a": pytest.approx((3.0,)), "b": (1.0,)}
    assert found.said()[-1] == "far is left out: its strengths save 200 to 300 tokens."


def test_strengths_that_noise_has_turned_around_are_pooled():
    back = curve("back", (50.0, (2.0,)), (40.0, (4.0,)))
    found = placed({"back": back})
    assert (found.place, found.values, found.own) == (None, {}, {})
    assert found.said() == ["back is left out: noise does not tell its strengths apart."]
    found = placed({"back": [*back, Point("back 2", 65.0, (9.0,))]})
    assert found.place == 55
    assert found.values["back"] == pytest.approx((6.0,))


def test_what_has_no_place_is_told():
    found = placed(
        {
            "none": curve("none", (50.0, None), (None, None)),
            "odd": curve("odd", (50.0, (1.0,)), (None, (1.0,))),
            "a": curve("a", (0.0, (0.0,)), (40.0, (4.0,)), (60.0, None)),
        }
    )
    assert found.values == {"a": pytest.approx((2.0,))}
    assert found.said() == [
        "read where a unit step saves 20 tokens, which a reach.",
        "not measured, or TLMRE saves as many tokens at no strength: none 0, none 1, a 2.",
        "none is left out: none of its strengths has a place on TLMRE's curve.",
        "odd is left out: it is not known how many tokens its strengths save.",
    ]


def test_one_strength_does_not_stand_for_a_curve():
    curves = {
        "one": curve("one", (10.0, (5.0,))),
        "part": curve("part", (20.0, (5.0,)), (30.0, None)),
        "plain": curve("plain", (None, (1.0,))),
    }
    found = placed(curves, ["plain"])
    assert (found.place, found.values, found.own) == (None, {"plain": (1.0,)}, {"plain": None})
    assert found.said() == [
        "without a dial, held against TLMRE where that saves as many tokens: plain (–).",
        "not measured, or TLMRE saves as many tokens at no strength: part 1.",
        "one is left out: one strength alone has a gradient.",
        "part is left out: one strength alone has a place on TLMRE's curve.",
    ]
