"""Charts of measured points, bars and histograms: what they draw is what they were given."""

from __future__ import annotations

import re
from itertools import pairwise

import pytest
from html_pages import Page
from hypothesis import given
from hypothesis import strategies as st

from attnpo.reporting.bar_panel import Bar, BarGroup, bar_chart, histogram
from attnpo.reporting.curve_panel import Axis, Bound, Event, Ring, curve_panel
from attnpo.reporting.intervals import Dots
from attnpo.reporting.marks import ArmMark, key_mark
from attnpo.reporting.panels import Series
from attnpo.reporting.svg import axis_percent
from attnpo.reporting.wording import three_digits
from attnpo.statistics import Interval

MARK = key_mark("a curve", 1)


def wide(value: float) -> Interval:
    return Interval(value=value, low=value - 0.1, high=value + 0.1)


def test_doubling_numbers_stand_evenly_on_a_log_axis() -> None:
    axis = Axis("k", tuple((float(k), str(k)) for k in (1, 2, 4, 8)), log=True)
    series = Series(MARK, (1.0, 2.0, 4.0, 8.0), (0.1, 0.2, 0.3, 0.4))
    page = Page(str(curve_panel("pass@k", [series], axis).svg))
    dots = [a["transform"] or "" for a in page.with_class("dot")]
    xs = [float(re.findall(r"translate\((\S+)", dot)[0]) for dot in dots]
    assert [b - a for a, b in pairwise(xs)] == pytest.approx([xs[1] - xs[0]] * 3, abs=0.15)


def test_bands_are_cut_at_given_limits() -> None:
    series = Series(MARK, (0.0, 10.0), (0.5, 0.6), (Interval(value=0.5, low=-3.0, high=4.0), wide(0.6)))
    page = Page(str(curve_panel("t", [series], Axis("x"), axis_percent, limits=(0.4, 0.8)).svg))
    heights = [float(y) for a in page.with_class("band") for y in re.findall(r" (-?[\d.]+)", a["d"] or "")]
    free = Page(str(curve_panel("t", [Series(MARK, (0.0, 10.0), (0.4, 0.8))], Axis("x"), limits=(0.4, 0.8)).svg))
    ends = [float(re.findall(r"translate\(\S+ ([\d.]+)\)", a["transform"] or "")[0]) for a in free.with_class("dot")]
    assert (max(heights), min(heights)) == pytest.approx((max(ends), min(ends)), abs=0.1)


def test_pointer_shows_every_series_with_its_interval_and_note() -> None:
    first = Series(MARK, (0.0, 10.0), (0.5, 0.75), (wide(0.5), wide(0.75)), notes=("", "added: 1.2"))
    second = Series(key_mark("other", 2), (10.0,), (0.25,))
    panel = curve_panel(
        "t", [first, second], Axis("step"), axis_percent, events=[Event(10.0, "chosen anew")], keyed=True
    )
    page = Page(str(panel.svg))
    assert page.tips[-1] == ("step: 10\na curve: 75.0 % (65.0 % to 85.0 %)\nadded: 1.2\nother: 25.0 %\nchosen anew")
    assert "step: 0\na curve: 50.0 % (40.0 % to 60.0 %)" in page.tips
    assert page.drawings == ["t against step. a curve: 0 50.0 %, 10 75.0 %; other: 10 25.0 %; chosen anew."]
    assert [mark.title for mark in panel.marks] == ["a curve", "other"]


def test_only_arms_answer_to_the_legend_buttons() -> None:
    arm = ArmMark("attnpo", "attnpo", "AttnPO", "", 2)
    svg = curve_panel("t", [Series(arm, (1.0,), (1.0,)), Series(MARK, (1.0,), (0.5,))], Axis("x")).svg
    assert [a["data-arm"] for _, a in Page(str(svg)).elements if "data-arm" in a] == ["attnpo"]
    assert arm.dash is not None
    assert key_mark("a curve", 2).dash is None


def test_bounds_events_and_rings_lie_inside_the_frame() -> None:
    panel = curve_panel(
        "t",
        [Series(MARK, (0.0, 1.0), (0.9, 0.8))],
        Axis("x"),
        exact=three_digits,
        bounds=[Bound(0.5, "bound 0.5")],
        events=[Event(4.0, "later", bad=True)],
        rings=[Ring(1.0, 0.8, "chosen", wide(0.8))],
        ceiling=1.0,
    )
    page = Page(str(panel.svg))
    bound, event = page.with_class("bound")[0], page.with_class("event")[0]
    assert 12 < float(bound["y1"] or 0) < 226
    assert 46 < float(event["x1"] or 0) <= 328
    assert "chosen" in page.tips
    assert "a curve: 0 0.900, 1 0.800" in page.drawings[0]


def test_ticks_of_names_do_not_overlap() -> None:
    names = tuple((float(i), f"a long checkpoint name {i}") for i in range(6))
    svg = curve_panel("t", [Series(MARK, tuple(x for x, _ in names), (1.0,) * 6)], Axis("checkpoint", names)).svg
    shown = [a for _, a in Page(str(svg)).elements if a.get("class") == "tick" and a.get("text-anchor") == "middle"]
    places = [float(a["x"] or 0) for a in shown]
    assert all(b - a >= 7 * 24 for a, b in pairwise(places))


@given(
    st.lists(st.tuples(st.floats(-1e3, 1e3), st.floats(-1, 1)), min_size=1, max_size=8, unique_by=lambda p: p[0]),
    st.booleans(),
)
def test_any_points_draw(points: list[tuple[float, float]], banded: bool) -> None:
    points = sorted(points)
    xs, ys = tuple(x for x, _ in points), tuple(y for _, y in points)
    intervals = tuple(wide(y) for y in ys) if banded else ()
    page = Page(str(curve_panel("t", [Series(MARK, xs, ys, intervals)], Axis("x"), ceiling=1.0).svg))
    assert not re.search(r"nan|inf", str([a for _, a in page.elements]))


def test_bars_are_as_high_as_their_values() -> None:
    groups = [
        BarGroup("left", (Bar(MARK, wide(0.5)), Bar(MARK, wide(0.25), "3 tokens"))),
        BarGroup("right", (Bar(MARK, wide(0.0)),)),
    ]
    page = Page(str(bar_chart("t", groups, level=wide(0.6))))
    heights = [float(a["height"] or 0) for a in page.with_class("body")]
    assert heights[0] == pytest.approx(2 * heights[1], abs=0.2)
    assert heights[2] == pytest.approx(0.5, abs=0.2)  # a line, so that it can be seen and pointed at
    assert page.tips[1] == "a curve, left\n25.0 % (15.0 % to 35.0 %)\n3 tokens"
    assert len(page.with_class("levelband")) == 1


def test_histogram_marks_a_cut_only_inside() -> None:
    page = Page(str(histogram("t", [0.0, 1.0, 2.0], [3, 1], cut=1.5, cut_name="here")))
    bars = [a for _, a in page.elements if a.get("class") == "body"]
    assert float(bars[0]["height"] or 0) == pytest.approx(3 * float(bars[1]["height"] or 0), abs=0.3)
    assert "here" in page.text
    assert "here" not in Page(str(histogram("t", [0.0, 1.0], [0], cut=9.0, cut_name="here"))).text


def test_dots_share_a_scale_and_say_what_they_are() -> None:
    low, high = wide(0.3), wide(0.8)
    dots = Dots.over([low, high])
    assert dots.x(1.0) > dots.x(0.5) > dots.x(0.2) > 6
    drawing = Page(str(dots.draw("rule", high, low, True, ("now", "then"))))
    assert drawing.drawings == ["rule: now 0.800 (0.70–0.90), then 0.300 (0.20–0.40)"]
    assert len(drawing.with_class("hollow")) == len(drawing.with_class("full")) == 1
