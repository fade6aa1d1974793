"""The drawing functions: escaping, scales, ticks, colours."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from attnpo.reporting.palette import (
    BINS,
    DARK,
    DARK_SCALE,
    LIGHT,
    LIGHT_SCALE,
    TEXT_STRENGTH,
    bin_of,
    contrast,
    diverging,
    text_on,
)
from attnpo.reporting.panels import smoothed
from attnpo.reporting.svg import Scale, element, padded, ticks


def test_element_escapes_text_and_attributes_but_not_elements() -> None:
    inner = element("b", "<i>&", title='"><script>')
    assert str(element("g", inner, x=1.25, y=None, class_="a", data_arm="b")) == (
        '<g x="1.2" class="a" data-arm="b"><b title="&#34;&gt;&lt;script&gt;">&lt;i&gt;&amp;</b></g>'
    )


def test_scale_maps_ends_to_ends() -> None:
    scale = Scale(10, 20, 300, 100)
    assert [scale(10), scale(15), scale(20)] == [300, 200, 100]


@given(low=st.floats(-1e6, 1e6), span=st.floats(1e-3, 1e6), wanted=st.integers(2, 8))
def test_ticks_are_inside_even_and_about_as_many_as_wanted(low: float, span: float, wanted: int) -> None:
    values = ticks(low, low + span, wanted)
    step = values[1] - values[0] if len(values) > 1 else 0.0
    slack = 1e-6 * max(span, abs(low), 1)
    assert all(low - slack <= v <= low + span + slack for v in values)
    assert all(b - a == pytest.approx(step, rel=1e-3, abs=1e-6) for a, b in itertools.pairwise(values))
    assert wanted / 2.6 <= len(values) + 1 <= 2.6 * wanted + 2


@given(st.lists(st.floats(0, 1), min_size=1, max_size=5))
def test_padded_range_is_never_empty_and_keeps_its_limits(values: list[float]) -> None:
    low, high = padded(values, floor=0, ceiling=1.01)
    assert 0 <= low <= min(values)
    assert max(values) <= high <= 1.01
    assert low < high


def test_smoothed_is_the_mean_of_neighbours() -> None:
    assert smoothed([1, 2, 6, 3], 1) == pytest.approx([1.5, 3, 11 / 3, 4.5])
    assert smoothed([5.0], 3) == [5.0]


@pytest.mark.parametrize(("theme", "scale"), [(LIGHT, LIGHT_SCALE), (DARK, DARK_SCALE)])
def test_text_is_legible_on_every_shade(theme: dict, scale: tuple) -> None:
    for colour in diverging(scale, TEXT_STRENGTH).values():
        assert contrast(theme["ink"], colour) >= 4.5
    for colour in diverging(scale).values():
        assert contrast(text_on(colour), colour) >= 4.5
    for name in ("ink", "soft", "accent", "good", "bad"):
        assert contrast(theme[name], theme["page"]) >= 4.5, name


def test_bins_are_symmetric_and_saturate() -> None:
    assert [bin_of(v, 2.0) for v in (-9, -2, -0.01, 0, 0.2, 1, 2, 9)] == [-BINS, -BINS, 0, 0, 1, 5, BINS, BINS]
