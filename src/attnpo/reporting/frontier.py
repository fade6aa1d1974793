"""Accuracy against tokens: every arm with the cross of its two 95 % intervals."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from markupsafe import Markup

from attnpo.reporting.marks import ArmMark
from attnpo.reporting.svg import Scale, axis_number, axis_percent, element, label, level_lines, padded, picture, ticks
from attnpo.reporting.wording import bounds, count, percent
from attnpo.statistics import Interval

Box = tuple[float, float, float, float]
Anchor = Literal["start", "middle", "end"]

CHARACTER = 7.6
"""Width of a label's character in drawing units, for placing labels without overlap."""
NEAR: tuple[tuple[float, float, Anchor], ...] = (
    (13, -9, "start"), (13, 18, "start"), (-13, -9, "end"), (-13, 18, "end"), (0, -20, "middle"),
    (0, 30, "middle"), (18, -30, "start"), (18, 38, "start"), (-18, -30, "end"), (-18, 38, "end"),
)  # fmt: skip
"""Places of a label beside its point, best first."""
FAR: tuple[tuple[float, float, Anchor], ...] = tuple(
    (way * distance, rise * distance, "start" if way > 0 else "end")
    for distance in (50, 75, 100, 130, 160)
    for way in (0.9, -0.9, 0.5, -0.5)
    for rise in (-0.3, 0.4, -0.8, 0.9)
)
"""Places that a line leads to, for labels that are in another's way beside their point."""


@dataclass(frozen=True)
class Point:
    """One arm of the frontier."""

    mark: ArmMark
    tokens: Interval
    accuracy: Interval

    @property
    def tip(self) -> str:
        """What the pointer shows."""
        return (
            f"{self.mark.title}\n{percent(self.accuracy.value)} right ({bounds(self.accuracy, True)})\n"
            f"{count(self.tokens.value)} tokens a response ({bounds(self.tokens)})"
        )


def frontier_svg(points: Sequence[Point], width: float = 640, height: float = 400, arrows: bool = True) -> Markup:
    """Return the drawing; with `arrows` one leads from the starting model (if it is there) to every arm.

    Without them, as among many arms, the crosses stand back too.
    """
    left, right, top, bottom = 52, 20, 30, 44
    low, high = padded([v for p in points for v in (p.tokens.low, p.tokens.high)], floor=0)
    x = Scale(low, high, left, width - right)
    low, high = padded([v for p in points for v in (p.accuracy.low, p.accuracy.high)], floor=0, ceiling=1.01)
    y = Scale(low, high, height - bottom, top)
    parts = [*_grid(x, y, width, height, left, right, top, bottom)]
    base = next((p for p in points if p.mark.method == "base"), None)
    if base is not None and arrows:
        parts += [_arrow(base, p, x, y) for p in points if p is not base]
    boxes: list[Box] = [
        box
        for p in points
        for box in (
            (x(p.tokens.value) - 9, y(p.accuracy.value) - 9, x(p.tokens.value) + 9, y(p.accuracy.value) + 9),
            (x(p.tokens.low), y(p.accuracy.value) - 4, x(p.tokens.high), y(p.accuracy.value) + 4),
            (x(p.tokens.value) - 4, y(p.accuracy.high), x(p.tokens.value) + 4, y(p.accuracy.low)),
        )
    ]
    named: set[str] = set()
    for p in points:
        # Several seeds of one method share colour and shape: one name is enough.
        text = "" if p.mark.method in named else p.mark.title
        named.add(p.mark.method)
        parts.append(_point(p, text, x, y, boxes, (left, top, width - 4, height - bottom)))
    said = "; ".join(p.tip.replace("\n", ", ") for p in points)
    css = "plot" if arrows else "plot many"
    return picture(width, height, f"Accuracy against tokens a response. {said}.", *parts, class_=css)


def _grid(
    x: Scale, y: Scale, width: float, height: float, left: float, right: float, top: float, bottom: float
) -> list[Markup]:
    parts = level_lines(y, left, width - right, axis_percent, 5, gap=8)
    for value in ticks(x.low, x.high, 6 if width > 480 else 4):
        parts.append(element("line", x1=x(value), x2=x(value), y1=top, y2=height - bottom, class_="grid"))
        parts.append(label(axis_number(value), x(value), height - bottom + 18, "middle"))
    parts.append(label("answered right", 4, 14, class_="axis"))
    parts.append(label("tokens a response", width - right, height - 6, "end", class_="axis"))
    return parts


def _arrow(start: Point, end: Point, x: Scale, y: Scale) -> Markup:
    x1, y1, x2, y2 = x(start.tokens.value), y(start.accuracy.value), x(end.tokens.value), y(end.accuracy.value)
    length = ((x2 - x1) ** 2 + (y2 - y1) ** 2) ** 0.5 or 1.0
    gap = min(12.0, length / 3)
    dx, dy = (x2 - x1) / length, (y2 - y1) / length
    return element(
        "line",
        x1=x1 + gap * dx,
        y1=y1 + gap * dy,
        x2=x2 - gap * dx,
        y2=y2 - gap * dy,
        class_=f"way {end.mark.css}",
        stroke_dasharray=end.mark.dash,
        data_arm=end.mark.method,
    )


def _point(p: Point, text: str, x: Scale, y: Scale, boxes: list[Box], frame: Box) -> Markup:
    px, py = x(p.tokens.value), y(p.accuracy.value)
    parts = [
        element("line", x1=x(p.tokens.low), x2=x(p.tokens.high), y1=py, y2=py, class_="cross"),
        element("line", x1=px, x2=px, y1=y(p.accuracy.low), y2=y(p.accuracy.high), class_="cross"),
        p.mark.shape(px, py, 6.5),
    ]
    if text:
        tx, ty, anchor = place_label(text, px, py, boxes, frame)
        if abs(tx - px) + abs(ty - py) > 60:
            parts.append(element("line", x1=px, y1=py, x2=tx, y2=ty - 4, class_="cross"))
        parts.append(label(text, tx, ty, anchor, class_="name"))
    parts.append(element("circle", cx=px, cy=py, r=16, class_="hit"))
    return element("g", *parts, class_=p.mark.css, data_arm=p.mark.method, data_tip=p.tip)


def place_label(
    text: str, px: float, py: float, boxes: list[Box], frame: Box, character: float = CHARACTER
) -> tuple[float, float, str]:
    """Return where a label overlaps the least of what is there already, near its point if it can, and take the place.

    Args:
        text: the label.
        px: its point, in drawing units from the left.
        py: from the top.
        boxes: what is there already (left, top, right, bottom); the label's own box is added.
        frame: the box that labels should stay in.
        character: width of a character.

    Returns:
        Place of the label's baseline, and which end of it stands there: start, middle or end.
    """
    width, size = character * len(text), 13
    choices = []
    for order, (dx, dy, anchor) in enumerate((*NEAR, *FAR)):
        tx, ty = px + dx, py + dy
        start = tx - {"start": 0, "middle": width / 2, "end": width}[anchor]
        box = (start, ty - size + 2, start + width, ty + 3)
        outside = max(0, frame[0] - box[0]) + max(0, box[2] - frame[2]) + max(0, frame[1] - 14 - box[1])
        outside += max(0, box[3] - frame[3])
        cost = sum(_overlap(box, other) for other in boxes) + 40 * outside
        cost += 0 if order < len(NEAR) else abs(dx) + abs(dy)
        choices.append((cost, order, tx, ty, anchor, box))
    _, _, tx, ty, anchor, box = min(choices)
    boxes.append(box)
    return tx, ty, anchor


def _overlap(a: Box, b: Box) -> float:
    return max(0.0, min(a[2], b[2]) - max(a[0], b[0])) * max(0.0, min(a[3], b[3]) - max(a[1], b[1]))


def frontier_points(summaries: Mapping[str, tuple[Interval, Interval]], marks: Mapping[str, ArmMark]) -> list[Point]:
    """Return the points of `arm → (tokens, accuracy)`."""
    return [Point(marks[name], tokens, accuracy) for name, (tokens, accuracy) in summaries.items()]
