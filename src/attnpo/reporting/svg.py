"""Small pure functions that write SVG: elements, scales, ticks. Colours come from the page's CSS classes."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from markupsafe import Markup, escape


def number(value: float) -> str:
    """Return a coordinate with at most one decimal."""
    text = f"{value:.1f}"
    return text[:-2] if text.endswith(".0") else text


def element(tag: str, *children: str | Markup, **attributes: object) -> Markup:
    """Return one SVG element; text and attribute values are escaped, `Markup` children are not.

    Attribute names take `_` for `-`, a trailing `_` is dropped (`class_`), and None leaves the attribute out.
    """
    written = "".join(
        f' {name.rstrip("_").replace("_", "-")}="{escape(number(v) if isinstance(v, float) else v)}"'
        for name, v in attributes.items()
        if v is not None
    )
    inner = "".join(str(escape(child)) for child in children)
    return Markup(f"<{tag}{written}>{inner}</{tag}>" if inner else f"<{tag}{written}/>")


def label(text: str, x: float, y: float, anchor: str = "start", class_: str = "tick", **more: object) -> Markup:
    """Return a line of text at a point."""
    return element("text", text, x=float(x), y=float(y), text_anchor=anchor, class_=class_, **more)


def polyline(points: Sequence[tuple[float, float]], class_: str, **more: object) -> Markup:
    """Return an open path through points."""
    path = "M" + "L".join(f"{number(x)} {number(y)}" for x, y in points)
    return element("path", d=path, class_=class_, **more)


def picture(
    width: float, height: float, description: str, *children: Markup, class_: str = "", natural: bool = False
) -> Markup:
    """Return a whole drawing that scales with its container, or keeps its `natural` width where there is room.

    `description` is what a screen reader says.
    """
    return element(
        "svg",
        *children,
        viewBox=f"0 0 {number(width)} {number(height)}",
        role="img",
        aria_label=description,
        class_=class_ or None,
        style=f"width:{number(width)}px" if natural else None,
    )


@dataclass(frozen=True)
class Scale:
    """A linear map from data `[low, high]` to coordinates `[start, end]`."""

    low: float
    high: float
    start: float
    end: float

    def __call__(self, value: float) -> float:
        """Return the coordinate of a value."""
        return self.start + (value - self.low) / (self.high - self.low) * (self.end - self.start)


def tick_step(span: float, wanted: int) -> float:
    """Return the step of 1, 2 or 5 times a power of ten that comes closest to `wanted` ticks over `span`."""
    power = 10.0 ** math.floor(math.log10(span / wanted))
    return min((m * power for m in (1, 2, 5, 10)), key=lambda step: abs(span / step - wanted))


def ticks(low: float, high: float, wanted: int = 5) -> list[float]:
    """Return round values inside `[low, high]`."""
    step = tick_step(high - low, wanted)
    first = math.ceil(low / step - 1e-9)
    last = math.floor(high / step + 1e-9)
    return [round(i * step, 10) for i in range(first, last + 1)]


def level_lines(
    y: Scale, left: float, right: float, write: Callable[[float], str], wanted: int = 4, gap: float = 6
) -> list[Markup]:
    """Return a line across the drawing at each round value of the vertical axis, the value `gap` before it."""
    parts = []
    for value in ticks(y.low, y.high, wanted):
        parts.append(element("line", x1=left, x2=right, y1=y(value), y2=y(value), class_="grid"))
        parts.append(label(write(value), left - gap, y(value) + 4, "end"))
    return parts


def padded(values: Sequence[float], floor: float | None = None, ceiling: float | None = None) -> tuple[float, float]:
    """Return a range a little wider than the values (never empty), cut at `floor` and `ceiling`."""
    low, high = min(values), max(values)
    margin = 0.08 * (high - low) or 0.05 * abs(high) or 1.0
    low, high = low - margin, high + margin
    return (low if floor is None else max(low, floor)), (high if ceiling is None else min(high, ceiling))


def axis_number(value: float) -> str:
    """Return a tick label: thousands with a separator, no needless decimals."""
    return f"{value:,.0f}" if abs(value) >= 10 or value == int(value) else f"{value:.2f}".rstrip("0")


def axis_percent(value: float) -> str:
    """Return a share as percent for a tick label."""
    percent = 100 * value
    return f"{percent:.0f} %" if abs(percent - round(percent)) < 0.01 else f"{percent:.1f} %"
