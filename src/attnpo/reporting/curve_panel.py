"""Curves of a few measured points: over heads, training steps, samples or token budgets, with their intervals."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

from markupsafe import Markup

from attnpo.reporting.panels import (
    BOTTOM,
    HEIGHT,
    LEFT,
    RIGHT,
    TOP,
    WIDTH,
    Panel,
    Series,
    reading_columns,
    write_exactly,
)
from attnpo.reporting.svg import (
    Scale,
    axis_number,
    element,
    label,
    level_lines,
    number,
    padded,
    picture,
    polyline,
    ticks,
)
from attnpo.statistics import Interval

CHARACTER = 7.0
"""Width of a tick label's character in drawing units."""


@dataclass(frozen=True)
class Bound:
    """A horizontal line that values should stay above, or are compared with."""

    value: float
    text: str


@dataclass(frozen=True)
class Event:
    """Something that happened at a place of the horizontal axis."""

    x: float
    text: str
    bad: bool = False


@dataclass(frozen=True)
class Ring:
    """A point to circle, such as the ensemble that was chosen; `text` is what the pointer shows."""

    x: float
    y: float
    text: str
    interval: Interval | None = None


@dataclass(frozen=True)
class Axis:
    """The horizontal axis.

    Attributes:
        title: its name, also for the pointer.
        names: position → what its tick says; None makes round ticks.
        log: equal steps for equal factors; positions are positive.
        limits: its ends, for panels that share it; by the positions if absent.
    """

    title: str
    names: tuple[tuple[float, str], ...] | None = None
    log: bool = False
    limits: tuple[float, float] | None = None

    def place(self, x: float) -> float:
        """Return where a position lies, in units of the axis."""
        return math.log2(x) if self.log else x

    def name(self, x: float) -> str:
        """Return what a position is called."""
        return dict(self.names or ()).get(x, axis_number(x))


@dataclass(frozen=True)
class _Frame:
    width: float
    height: float
    x: Scale
    y: Scale
    axis: Axis

    def at(self, x: float, y: float) -> tuple[float, float]:
        return self.x(self.axis.place(x)), self.y(y)

    def inside(self, y: float) -> float:
        return min(max(y, self.y.low), self.y.high)


def curve_panel(
    title: str,
    series: Sequence[Series],
    axis: Axis,
    write: Callable[[float], str] = axis_number,
    *,
    exact: Callable[[float], str] | None = None,
    floor: float | None = None,
    ceiling: float | None = None,
    limits: tuple[float, float] | None = None,
    bounds: Sequence[Bound] = (),
    events: Sequence[Event] = (),
    rings: Sequence[Ring] = (),
    note: str = "",
    width: float = WIDTH,
    height: float = HEIGHT + 16,
    keyed: bool = False,
) -> Panel:
    """Return curves through measured points; bands are the series' intervals.

    Args:
        title: what is drawn.
        series: the curves, each with at least one point.
        axis: the horizontal axis.
        write: how values are written on the vertical axis.
        exact: how the pointer and screen readers give them; by default with a digit more than the axis.
        floor: lower limit of the vertical axis.
        ceiling: upper limit of the vertical axis.
        limits: ends of the vertical axis, for panels that share it; bands are cut there. By the values if absent.
        bounds: horizontal lines.
        events: vertical lines.
        rings: points to circle.
        note: small words behind the title.
        width: width of the drawing.
        height: its height.
        keyed: give the panel a key of its own; arms have theirs at the top of the page.
    """
    exactly = exact or partial(write_exactly, write=write)
    places = [axis.place(v) for s in series for v in s.xs] + [axis.place(e.x) for e in events]
    places += [axis.place(v) for v in axis.limits or ()]
    low, high = min(places), max(places)
    margin = 0.03 * (high - low) or 0.5
    values = [v for s in series for v in s.ys] + [v for s in series for i in s.intervals for v in (i.low, i.high)]
    values += [b.value for b in bounds] + [r.y for r in rings]
    values += [v for r in rings if r.interval is not None for v in (r.interval.low, r.interval.high)]
    frame = _Frame(
        width,
        height,
        Scale(low - margin, high + margin, LEFT, width - RIGHT),
        Scale(*(limits or padded(values, floor, ceiling)), height - BOTTOM - 16, TOP),
        axis,
    )
    parts = [*_grid(frame, series, write), *(_event(e, frame) for e in events), *(_bound(b, frame) for b in bounds)]
    parts += [_band(s, frame) for s in series if len(s.intervals) > 1]
    parts += [_curve(s, frame) for s in series]
    parts += _readings(series, frame, exactly, events)
    parts += [_ring(r, frame) for r in rings]
    said = "; ".join(
        f"{s.mark.title}: " + ", ".join(f"{axis.name(a)} {exactly(b)}" for a, b in _sketched(s)) for s in series
    )
    said += "".join(f"; {e.text}" for e in events)
    drawing = picture(width, height, f"{title} against {axis.title}. {said}.", *parts, class_="plot")
    return Panel(title, drawing, note, tuple(s.mark for s in series) if keyed else ())


def _sketched(s: Series, most: int = 12) -> list[tuple[float, float]]:
    """Return the points that a screen reader names: all of them, or the first, the last and some between."""
    points = list(zip(s.xs, s.ys, strict=True))
    step = math.ceil(len(points) / most)
    return points if step == 1 else [*points[:-1:step], points[-1]]


def _grid(frame: _Frame, series: Sequence[Series], write: Callable[[float], str]) -> list[Markup]:
    parts = level_lines(frame.y, LEFT, frame.width - RIGHT, write)
    bottom = frame.height - BOTTOM - 16
    if frame.axis.names is None:
        known = sorted({x for s in series for x in s.xs})
        few = known if len(known) <= 12 and all(v == int(v) for v in known) else ticks(frame.x.low, frame.x.high, 5)
        whole = [v for v in few if v == int(v)]
        marked = [(v, axis_number(v)) for v in whole or few]
    else:
        drawn = {x for s in series for x in s.xs}
        marked = [(x, name) for x, name in frame.axis.names if x in drawn]
    end = -math.inf
    for x, name in marked:
        place, half = frame.x(frame.axis.place(x)), CHARACTER * len(name) / 2
        if place - half < end or place > frame.width:
            continue
        place = min(place, frame.width - half)
        parts.append(label(name, place, bottom + 17, "middle"))
        end = place + half + 6
    parts.append(label(frame.axis.title, frame.width - RIGHT, frame.height - 4, "end", class_="axis"))
    return parts


def _event(event: Event, frame: _Frame) -> Markup:
    x = frame.x(frame.axis.place(event.x))
    bottom = frame.height - BOTTOM - 16
    line = element("line", x1=x, x2=x, y1=TOP, y2=bottom, class_="event")
    # What is bad points down from above, all else up from below: both may happen at one place.
    path = f"M{number(x)} {number(TOP - 2)}l5 -8h-10z" if event.bad else f"M{number(x)} {number(bottom - 7)}l5 8h-10z"
    sign = element("path", d=path, class_="sign")
    return element("g", line, sign, class_="happened bad" if event.bad else "happened", data_tip=event.text)


def _bound(bound: Bound, frame: _Frame) -> Markup:
    y = frame.y(bound.value)
    return element(
        "g",
        element("line", x1=LEFT, x2=frame.width - RIGHT, y1=y, y2=y, class_="bound"),
        label(bound.text, LEFT + 4, y - 4, class_="boundname"),
    )


def _band(s: Series, frame: _Frame) -> Markup:
    upper = [frame.at(x, frame.inside(i.high)) for x, i in zip(s.xs, s.intervals, strict=True)]
    lower = [frame.at(x, frame.inside(i.low)) for x, i in zip(s.xs, s.intervals, strict=True)]
    edge = upper + lower[::-1]
    return element(
        "g", polyline(edge, "band"), class_=s.mark.css + (" weak" if s.weak else ""), data_arm=s.mark.method or None
    )


def _curve(s: Series, frame: _Frame) -> Markup:
    points = [frame.at(x, y) for x, y in zip(s.xs, s.ys, strict=True)]
    inner = [polyline(points, "line", stroke_dasharray="3 4" if s.weak else s.mark.dash)] if len(points) > 1 else []
    if len(points) == 1 and s.intervals:
        (x, _), (i,) = points[0], s.intervals
        low, high = (frame.y(frame.inside(value)) for value in (i.low, i.high))
        inner.append(element("line", x1=x, x2=x, y1=low, y2=high, class_="cross"))
    if len(points) <= 40:
        inner += [s.mark.shape(x, y, 2.4 if s.weak else 3.4) for x, y in points]
    css = s.mark.css + (" weak" if s.weak else "")
    return element("g", *inner, class_=css, data_arm=s.mark.method or None)


def _ring(ring: Ring, frame: _Frame) -> Markup:
    x, y = frame.at(ring.x, ring.y)
    parts = [element("circle", cx=x, cy=y, r=8.5, class_="chosen")]
    if ring.interval is not None:
        low, high = frame.y(ring.interval.low), frame.y(ring.interval.high)
        parts.insert(0, element("line", x1=x, x2=x, y1=low, y2=high, class_="whisker"))
    return element("g", *parts, element("circle", cx=x, cy=y, r=10.0, class_="hit"), data_tip=ring.text)


def _readings(
    series: Sequence[Series], frame: _Frame, exactly: Callable[[float], str], events: Sequence[Event]
) -> list[Markup]:
    positions = sorted({v for s in series for v in s.xs})
    places = [frame.x(frame.axis.place(v)) for v in positions]
    tips = []
    for position in positions:
        lines = [f"{frame.axis.title}: {frame.axis.name(position)}"]
        for s in series:
            if position in s.xs:
                k = s.xs.index(position)
                lines.append(f"{s.mark.title}: {exactly(s.ys[k])}")
                if s.intervals:
                    low, high = (exactly(v) for v in (s.intervals[k].low, s.intervals[k].high))
                    lines[-1] += f" ({low} to {high})"
                lines += [s.notes[k]] if s.notes and s.notes[k] else []
        lines += [e.text for e in events if e.x == position]
        tips.append("\n".join(lines))
    return reading_columns(places, tips, frame.width, frame.height - TOP - BOTTOM - 16)
