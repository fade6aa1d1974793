"""Small charts of one quantity each: over training steps, over difficulty, over the number of heads."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise

from markupsafe import Markup

from attnpo.reporting.marks import ArmMark
from attnpo.reporting.svg import Scale, axis_number, element, label, level_lines, padded, picture, polyline, ticks
from attnpo.statistics import Interval

WIDTH, HEIGHT = 340.0, 210.0
LEFT, RIGHT, TOP, BOTTOM = 46.0, 12.0, 12.0, 28.0


@dataclass(frozen=True)
class Series:
    """One arm's values in a panel.

    Attributes:
        mark: how it is drawn and called.
        xs: positions, ascending.
        ys: values.
        intervals: the values' bounds; empty where there are none.
        notes: what else the pointer shows at each position; empty for nothing.
        weak: draw it behind the others, thin.
    """

    mark: ArmMark
    xs: tuple[float, ...]
    ys: tuple[float, ...]
    intervals: tuple[Interval, ...] = ()
    notes: tuple[str, ...] = ()
    weak: bool = False


@dataclass(frozen=True)
class Panel:
    """A titled small chart; `marks` are its own key, where it does not show arms."""

    title: str
    svg: Markup
    note: str = ""
    marks: tuple[ArmMark, ...] = ()


def smoothed(values: Sequence[float], width: int) -> list[float]:
    """Return the mean of each value's neighbours, `width` to either side (fewer at the ends)."""
    sums = [0.0]
    for value in values:
        sums.append(sums[-1] + value)
    spans = ((max(0, i - width), min(len(values), i + width + 1)) for i in range(len(values)))
    return [(sums[end] - sums[start]) / (end - start) for start, end in spans]


def _frame(x: Scale, y: Scale, write: Callable[[float], str], x_ticks: Sequence[tuple[float, str]]) -> list[Markup]:
    names = [label(text, x(value), HEIGHT - BOTTOM + 17, "middle") for value, text in x_ticks]
    return level_lines(y, LEFT, WIDTH - RIGHT, write) + names


def line_panel(
    title: str,
    series: Sequence[Series],
    write: Callable[[float], str] = axis_number,
    x_title: str = "optimizer step",
    ceiling: float | None = None,
    note: str = "",
) -> Panel:
    """Return curves over training: the raw values thin, their running mean on top."""
    xs = [v for s in series for v in s.xs]
    low, high = min(xs), max(xs)
    x = Scale(low, high if high > low else low + 1, LEFT, WIDTH - RIGHT)
    y = Scale(*padded([v for s in series for v in s.ys], floor=0, ceiling=ceiling), HEIGHT - BOTTOM, TOP)
    marks = [v for v in ticks(low, x.high, 5) if v == int(v)]
    parts = _frame(x, y, write, [(v, axis_number(v)) for v in marks])
    for s in series:
        means = smoothed(s.ys, max(1, len(s.ys) // 16))
        raw = [(x(a), y(b)) for a, b in zip(s.xs, s.ys, strict=True)]
        mean = [(x(a), y(b)) for a, b in zip(s.xs, means, strict=True)]
        lines = [polyline(mean, "line", stroke_dasharray=s.mark.dash)]
        if len(raw) > 2:
            lines.insert(0, polyline(raw, "raw"))
        parts.append(element("g", *lines, class_=s.mark.css, data_arm=s.mark.method))
    parts += _readings(series, x, write, x_title)
    said = "; ".join(
        f"{s.mark.title} from {write_exactly(s.ys[0], write)} to {write_exactly(s.ys[-1], write)}" for s in series
    )
    return Panel(title, picture(WIDTH, HEIGHT, f"{title} over training. {said}.", *parts, class_="plot"), note)


def write_exactly(value: float, write: Callable[[float], str]) -> str:
    """Return a value with a digit more than its axis shows."""
    return f"{100 * value:.1f} %" if write(0.5).endswith("%") else f"{value:,.2f}" if value < 10 else f"{value:,.1f}"


def _readings(series: Sequence[Series], x: Scale, write: Callable[[float], str], x_title: str) -> list[Markup]:
    positions = sorted({v for s in series for v in s.xs})
    tips = []
    for position in positions:
        values = [(s.mark.title, s.ys[s.xs.index(position)]) for s in series if position in s.xs]
        lines = [f"{x_title} {axis_number(position)}", *(f"{t}: {write_exactly(v, write)}" for t, v in values)]
        tips.append("\n".join(lines))
    return reading_columns([x(v) for v in positions], tips, WIDTH, HEIGHT - TOP - BOTTOM)


def reading_columns(places: Sequence[float], tips: Sequence[str], width: float, height: float) -> list[Markup]:
    """Return invisible columns, one around each place of the horizontal axis, that show a text under the pointer."""
    edges = [LEFT, *((a + b) / 2 for a, b in pairwise(places)), width - RIGHT]
    return [
        element("rect", x=start, y=TOP, width=max(end - start, 0.5), height=height, class_="hit", data_tip=tip)
        for start, end, tip in zip(edges, edges[1:], tips, strict=False)
    ]


def interval_panel(
    title: str,
    names: Sequence[str],
    series: Sequence[Series],
    write: Callable[[float], str] = axis_number,
    ceiling: float | None = None,
    over: str = "difficulty",
) -> Panel:
    """Return values with intervals over named places; arms stand side by side at each place.

    Args:
        title: what is drawn.
        names: the places, from left to right.
        series: the arms; positions are indices of `names`.
        write: how values are written on the axis.
        ceiling: upper limit of the axis.
        over: what the places are.
    """
    bounds = [v for s in series for i in s.intervals for v in (i.low, i.high)]
    y = Scale(*padded(bounds, floor=0, ceiling=ceiling), HEIGHT - BOTTOM, TOP)
    x = Scale(-0.5, len(names) - 0.5, LEFT, WIDTH - RIGHT)
    parts = _frame(x, y, write, list(enumerate(names)))
    methods = list(dict.fromkeys(s.mark.name for s in series))
    spread = min(0.09, 0.6 / max(len(methods), 1))
    for s in series:
        shift = spread * (methods.index(s.mark.name) - (len(methods) - 1) / 2)
        points = [(x(a + shift), y(b)) for a, b in zip(s.xs, s.ys, strict=True)]
        inner = [polyline(points, "thin", stroke_dasharray=s.mark.dash)]
        for (px, py), interval, place in zip(points, s.intervals, s.xs, strict=True):
            cross = element("line", x1=px, x2=px, y1=y(interval.low), y2=y(interval.high), class_="cross")
            tip = (
                f"{s.mark.title}, {over} {names[int(place)]}\n{write_exactly(interval.value, write)} "
                f"({write_exactly(interval.low, write)} to {write_exactly(interval.high, write)})"
            )
            hit = element("circle", cx=px, cy=py, r=8, class_="hit")
            inner.append(element("g", cross, s.mark.shape(px, py, 3.6), hit, data_tip=tip))
        parts.append(element("g", *inner, class_=s.mark.css, data_arm=s.mark.method))
    said = "; ".join(
        f"{s.mark.title}: "
        + ", ".join(f"{names[int(a)]} {write_exactly(b, write)}" for a, b in zip(s.xs, s.ys, strict=True))
        for s in series
    )
    return Panel(title, picture(WIDTH, HEIGHT, f"{title} by {over}. {said}.", *parts, class_="plot"))
