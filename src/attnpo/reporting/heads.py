"""What discovery found: heat maps of SRA, chosen heads against trivial rules, and how many heads are enough."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from markupsafe import Markup

from attnpo.discovery.result import DiscoveryResult
from attnpo.reporting.palette import BINS, bin_of
from attnpo.reporting.svg import Scale, element, label, padded, picture, polyline, ticks
from attnpo.reporting.wording import IntervalLike, bounds, percent

NARROWEST_WITH_NUMBERS = 30.0
"""Cells at least this wide carry their number."""


@dataclass(frozen=True)
class RuleRow:
    """One ranking rule: its SRA over all pairs, over length-matched pairs, and a drawing of both."""

    name: str
    sra: str
    matched: str
    drawing: Markup
    ours: bool


@dataclass(frozen=True)
class CreditRow:
    """One cell of credit accuracy: share of tokens touched; `wanted` says whether a high share is good."""

    name: str
    share: str
    interval: str
    drawing: Markup
    wanted: bool


def sra_bin(sra: float) -> int:
    """Return the shade of an SRA: 0.5 (chance) is the middle, 0 and 1 are the ends."""
    return bin_of(sra - 0.5, 0.5)


def heat_map(
    grid: Sequence[Sequence[float]],
    chosen: Sequence[tuple[int, int]],
    title: str,
    mass: Sequence[Sequence[float]] = (),
) -> Markup:
    """Return SRA over layers (downwards) × heads (rightwards), the chosen heads outlined.

    Args:
        grid: SRA, layers × heads.
        chosen: heads to outline, as (layer, head).
        title: what the grid shows, for screen readers.
        mass: attention on a step relative to an even spread, layers × heads, for the pointer; empty where not known.
    """
    rows, columns = len(grid), len(grid[0])
    cell = min(54.0, max(7.0, 400.0 / columns), max(7.0, 620.0 / rows))
    left, top, bottom = 34.0, 8.0, 36.0
    numbers = cell >= NARROWEST_WITH_NUMBERS
    gap = 2.0 if cell > 14 else 0.5
    parts = []
    for layer, row in enumerate(grid):
        for head, sra in enumerate(row):
            x, y, shade = left + head * cell, top + layer * cell, sra_bin(sra)
            tip = f"layer {layer}, head {head}\nSRA {sra:.3f}"
            if mass:
                tip += f"\n{mass[layer][head]:.2f} × even attention"
            size = {"x": x, "y": y, "width": cell - gap, "height": cell - gap, "rx": 3.0 if cell > 14 else None}
            parts.append(element("rect", **size, class_=f"q{shade}", data_tip=tip))
            if numbers:
                text = f"{sra:.2f}"[1:] if sra < 1 else "1.0"
                place = x + (cell - gap) / 2, y + (cell - gap) / 2 + 4.5
                parts.append(label(text, *place, "middle", class_=f"cell t{shade}"))
    for layer, head in chosen:
        x, y = left + head * cell, top + layer * cell
        size = {"x": x - 0.5, "y": y - 0.5, "width": cell - gap + 1, "height": cell - gap + 1, "rx": 3.5}
        parts.append(element("rect", **size, class_="chosen"))
    every = max(1, round(18 / cell))
    parts += [label(str(layer), left - 8, top + (layer + 0.5) * cell + 3, "end") for layer in range(0, rows, every)]
    parts += [
        label(str(head), left + (head + 0.5) * cell - gap / 2, top + rows * cell + 14, "middle")
        for head in range(0, columns, every)
    ]
    parts.append(label("heads →  layers ↓", left, top + rows * cell + 31, class_="axis"))
    best = max((sra, layer, head) for layer, row in enumerate(grid) for head, sra in enumerate(row))
    named = ", ".join(f"layer {layer} head {head} {grid[layer][head]:.2f}" for layer, head in chosen)
    highest = f"layer {best[1]} head {best[2]} {best[0]:.2f}"
    said = f"{title}. {rows} layers by {columns} heads. Chosen: {named}. Highest: {highest}."
    width, height = left + max(columns * cell, 130), top + rows * cell + bottom
    return picture(width, height, said, *parts, class_="plot heat", natural=True)


def heat_legend() -> Markup:
    """Return the scale of the heat maps, 0 to 1 with chance in the middle."""
    width = 11.0
    bins = [
        element("rect", x=10 + (k + BINS) * width, y=0.0, width=width, height=10.0, class_=f"q{k}")
        for k in range(-BINS, BINS + 1)
    ]
    end = 10 + (2 * BINS + 1) * width
    names = [label("0", 10, 24, "start"), label("0.5 chance", (10 + end) / 2, 24, "middle"), label("1", end, 24, "end")]
    return picture(end + 10, 28, "Colour scale: orange below 0.5, blue above", *bins, *names, class_="plot scale")


def rule_rows(result: DiscoveryResult) -> list[RuleRow]:
    """Return the chosen heads, the best single head and every trivial rule, one row each."""
    rows: list[tuple[str, IntervalLike, IntervalLike | None, bool]] = [
        (f"chosen heads ({len(result.chosen)})", result.chosen_sra, result.chosen_sra_length_matched, True),
        ("best single head", result.best_single_sra, None, True),
    ]
    rows += [(name, rule.sra, rule.sra_length_matched, False) for name, rule in result.trivial.items()]
    lows = [i.low for _, a, b, _ in rows for i in (a, b) if i is not None]
    x = Scale(min(0.45, *lows) - 0.02, 1.0, 6.0, 354.0)
    return [
        RuleRow(
            name=name,
            sra=_written(all_pairs),
            matched="" if matched is None else _written(matched),
            drawing=_rule_drawing(name, all_pairs, matched, x, ours),
            ours=ours,
        )
        for name, all_pairs, matched, ours in rows
    ]


def _written(interval: IntervalLike) -> str:
    return f"{interval.value:.3f} ({interval.low:.2f}–{interval.high:.2f})"


def _rule_drawing(name: str, all_pairs: IntervalLike, matched: IntervalLike | None, x: Scale, ours: bool) -> Markup:
    css = "ours" if ours else "theirs"
    parts = [element("line", x1=x(0.5), x2=x(0.5), y1=0.0, y2=26.0, class_="chance")]
    for y, interval, hollow in ((8.0, all_pairs, False), (18.0, matched, True)):
        if interval is None:
            continue
        parts.append(element("line", x1=x(interval.low), x2=x(interval.high), y1=y, y2=y, class_=f"{css} cross"))
        parts.append(
            element("circle", cx=x(interval.value), cy=y, r=4.0, class_=f"{css} {'hollow' if hollow else 'full'}")
        )
    said = f"{name}: all pairs {_written(all_pairs)}" + (f", length-matched {_written(matched)}" if matched else "")
    return picture(360, 26, said, *parts, class_="plot rule")


def credit_rows(shares: Mapping[str, IntervalLike]) -> list[CreditRow]:
    """Return the four cells of credit accuracy, the wanted one of each pair first."""
    order = (
        ("PA redundant", "redundant tokens attenuated", True),
        ("PA essential", "essential tokens attenuated", False),
        ("NA essential", "essential tokens protected", True),
        ("NA redundant", "redundant tokens protected", False),
    )
    return [
        CreditRow(
            name=title,
            share=percent(shares[cell].value, 0),
            interval=bounds(shares[cell], as_percent=True),
            drawing=_bar(title, shares[cell], wanted),
            wanted=wanted,
        )
        for cell, title, wanted in order
        if shares.get(cell) is not None
    ]


def _bar(title: str, share: IntervalLike, wanted: bool) -> Markup:
    x = Scale(0.0, 1.0, 1.0, 239.0)
    css = "wanted" if wanted else "unwanted"
    return picture(
        240,
        18,
        f"{title}: {percent(share.value)}, interval {bounds(share, True)}",
        element("rect", x=1.0, y=2.0, width=238.0, height=14.0, rx=2.0, class_="track"),
        element("rect", x=1.0, y=2.0, width=max(x(share.value) - 1, 0.5), height=14.0, rx=2.0, class_=css),
        element("line", x1=x(share.low), x2=x(share.high), y1=9.0, y2=9.0, class_="whisker"),
        class_="plot share",
    )


def ensemble_chart(result: DiscoveryResult) -> Markup | None:
    """Return SRA against the number of heads, greedy and top-N, on both halves; None without ensembles."""
    curves = [
        ("greedy, report half", [e.sra_report for e in result.greedy], "greedy report"),
        ("greedy, select half", [e.sra_select for e in result.greedy], "greedy select"),
        ("top-N, report half", [e.sra_report for e in result.top], "top report"),
        ("top-N, select half", [e.sra_select for e in result.top], "top select"),
    ]
    curves = [curve for curve in curves if curve[1]]
    if not curves:
        return None
    width, height, left, right, top, bottom = 440.0, 260.0, 42.0, 16.0, 14.0, 42.0
    longest = max(len(values) for _, values, _ in curves)
    x = Scale(0.7, max(longest, 2) + 0.3, left, width - right)
    y = Scale(*padded([v for _, values, _ in curves for v in values], ceiling=1.0), height - bottom, top)
    parts = []
    for value in ticks(y.low, y.high, 5):
        parts.append(element("line", x1=left, x2=width - right, y1=y(value), y2=y(value), class_="grid"))
        parts.append(label(f"{value:.2f}".rstrip("0"), left - 6, y(value) + 4, "end"))
    step = max(1, longest // 10)
    parts += [label(str(n), x(n), height - bottom + 17, "middle") for n in range(1, longest + 1, step)]
    parts.append(label("number of heads", width - right, height - 6, "end", class_="axis"))
    for name, values, css in curves:
        points = [(x(i + 1), y(v)) for i, v in enumerate(values)]
        dots = [
            element("circle", cx=px, cy=py, r=3.4, class_="knot", data_tip=f"{name}, {i + 1} heads\nSRA {v:.3f}")
            for i, ((px, py), v) in enumerate(zip(points, values, strict=True))
        ]
        parts.append(element("g", polyline(points, "line"), *dots, class_=f"curve {css}"))
    n = len(result.chosen)
    if n <= longest and result.chosen_by in ("greedy", "top"):
        chosen = result.greedy if result.chosen_by == "greedy" else result.top
        if n <= len(chosen):
            parts.append(element("circle", cx=x(n), cy=y(chosen[n - 1].sra_report), r=8.0, class_="chosen"))
    said = "; ".join(f"{name} from {values[0]:.2f} to {values[-1]:.2f}" for name, values, _ in curves)
    return picture(width, height, f"SRA against the number of heads. {said}.", *parts, class_="plot")
