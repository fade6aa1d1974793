"""Grouped bars with intervals, and histograms."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from markupsafe import Markup

from attnpo.reporting.curve_panel import CHARACTER
from attnpo.reporting.marks import ArmMark
from attnpo.reporting.panels import write_exactly
from attnpo.reporting.svg import Scale, axis_number, axis_percent, element, label, level_lines, padded, picture, ticks
from attnpo.statistics import Interval

LEFT, RIGHT, TOP = 46.0, 12.0, 16.0
NARROWEST_WITH_NUMBERS = 40.0
"""Bars at least this wide carry their number."""


@dataclass(frozen=True)
class Bar:
    """One bar: its mark gives name and colour, `tip` is what the pointer shows below the name."""

    mark: ArmMark
    interval: Interval
    tip: str = ""


@dataclass(frozen=True)
class BarGroup:
    """Bars that stand side by side under one name."""

    name: str
    bars: tuple[Bar, ...]


def bar_chart(
    title: str,
    groups: Sequence[BarGroup],
    *,
    level: Interval | None = None,
    write: Callable[[float], str] = axis_percent,
    width: float = 760.0,
    height: float = 300.0,
) -> Markup:
    """Return groups of bars from 0 up, with whiskers.

    Args:
        title: what is drawn, for screen readers.
        groups: the groups, from left to right.
        level: something to compare all bars with: a dashed line over the whole width, with its interval as a band.
        write: how values are written.
        width: width of the drawing.
        height: its height.
    """
    tops = [b.interval.high for g in groups for b in g.bars] + ([level.high] if level else [])
    y = Scale(0.0, padded([0.0, *tops], floor=0.0)[1], height - 30, TOP)
    if write is axis_percent:
        y = Scale(0.0, min(y.high, 1.0), y.start, y.end)
    parts = level_lines(y, LEFT, width - RIGHT, write)
    if level is not None:
        size = {"x": LEFT, "y": y(level.high), "width": width - LEFT - RIGHT}
        parts.append(element("rect", **size, height=max(y(level.low) - y(level.high), 0.5), class_="levelband"))
    numbers: list[Markup] = []
    # One unit a bar, one between groups.
    units = sum(len(g.bars) for g in groups) + max(len(groups) - 1, 0)
    unit = (width - LEFT - RIGHT - 16) / max(units, 1)
    bar = min(unit * 0.78, 64.0)
    start = LEFT + 8
    for group in groups:
        end = start + unit * len(group.bars)
        for place, b in enumerate(group.bars):
            middle = start + unit * (place + 0.5)
            parts.append(_bar(b, middle, bar, y, write, group.name))
            if bar >= NARROWEST_WITH_NUMBERS:
                text = write_exactly(b.interval.value, write)
                numbers.append(label(text, middle, y(b.interval.high) - 5, "middle", class_="value"))
        space = (end - start + unit) / CHARACTER
        name = group.name if len(group.name) <= space else f"{group.name[: max(int(space) - 1, 1)]}…"
        parts.append(label(name, (start + end) / 2, height - 10, "middle", class_="tick groupname"))
        start = end + unit
    if level is not None:
        line = {"x1": LEFT, "x2": width - RIGHT, "y1": y(level.value), "y2": y(level.value)}
        parts.append(element("line", **line, class_="bound"))
    parts += numbers
    said = "; ".join(
        f"{g.name}: " + ", ".join(f"{b.mark.title} {write_exactly(b.interval.value, write)}" for b in g.bars)
        for g in groups
    )
    return picture(width, height, f"{title}. {said}.", *parts, class_="plot bars")


def _bar(b: Bar, middle: float, width: float, y: Scale, write: Callable[[float], str], group: str) -> Markup:
    i = b.interval
    low, high = (write_exactly(v, write) for v in (i.low, i.high))
    tip = f"{b.mark.title}, {group}\n{write_exactly(i.value, write)} ({low} to {high})" + (
        f"\n{b.tip}" if b.tip else ""
    )
    top = y(i.value)
    parts = [
        element("rect", x=middle - width / 2, y=top, width=width, height=max(y(0.0) - top, 0.5), rx=1.5, class_="body"),
        element("line", x1=middle, x2=middle, y1=y(i.low), y2=y(i.high), class_="whisker"),
    ]
    return element("g", *parts, class_=b.mark.css, data_tip=tip)


def histogram(
    title: str,
    edges: Sequence[float],
    counts: Sequence[float],
    *,
    x_title: str = "",
    cut: float | None = None,
    cut_name: str = "",
    width: float = 460.0,
    height: float = 220.0,
) -> Markup:
    """Return a histogram: `len(edges) == len(counts) + 1`; `cut` is a place to mark, such as a threshold."""
    x = Scale(edges[0], edges[-1] if edges[-1] > edges[0] else edges[0] + 1, LEFT, width - RIGHT)
    y = Scale(0.0, 1.06 * max(*counts, 1), height - 42, TOP)
    parts = level_lines(y, LEFT, width - RIGHT, axis_number, 3)
    for low, high, count in zip(edges, edges[1:], counts, strict=False):
        left, right = x(low), x(high)
        tip = f"{low:.3g} to {high:.3g}\n{count:,.0f}"
        size = {"x": left + 0.4, "y": y(count), "width": max(right - left - 0.8, 0.4), "height": y(0.0) - y(count)}
        parts.append(element("rect", **size, class_="body", data_tip=tip))
    parts += [
        label(axis_number(v) if abs(v) >= 1 else f"{v:.3g}", x(v), height - 25, "middle")
        for v in ticks(x.low, x.high, 5)
    ]
    parts.append(label(x_title, width - RIGHT, height - 4, "end", class_="axis"))
    if cut is not None and x.low <= cut <= x.high:
        parts.append(element("line", x1=x(cut), x2=x(cut), y1=TOP, y2=y(0.0), class_="bound"))
        to_left = cut > (x.low + x.high) / 2
        place = x(cut) - 5 if to_left else x(cut) + 5
        parts.append(label(cut_name, place, TOP + 8, "end" if to_left else "start", class_="boundname"))
    said = f"{sum(counts):,.0f} values from {edges[0]:.3g} to {edges[-1]:.3g}"
    return picture(width, height, f"{title}. {said}.", *parts, class_="plot bars arm1")
