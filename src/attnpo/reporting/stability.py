"""Stability as it is shown: SRA and the correlation of scores with the start, through training or over checkpoints."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from attnpo.discovery.evidence import StabilityPoint, StabilityResult
from attnpo.reporting.curve_panel import Axis, Bound, Event, curve_panel
from attnpo.reporting.heads import head_names
from attnpo.reporting.intervals import written
from attnpo.reporting.marks import key_mark
from attnpo.reporting.panels import Panel, Series
from attnpo.reporting.svg import axis_number
from attnpo.reporting.wording import three_digits
from attnpo.statistics import Interval


@dataclass(frozen=True)
class StabilityView:
    """One run's stability: the curves, what their signs mean, warnings, and where heads were chosen anew."""

    name: str
    sentence: str
    panels: tuple[Panel, ...]
    signs: tuple[tuple[str, str, str], ...]
    warnings: tuple[str, ...]
    reselections: tuple[str, ...]


def stability_axis(result: StabilityResult) -> tuple[Axis, list[float]]:
    """Return the horizontal axis and the points' places: training steps where all have one, else one place each."""
    steps = [p.step for p in result.points]
    known = [float(s) for s in steps if s is not None]
    if len(known) == len(steps) and known == sorted(set(known)):
        return Axis("optimizer step"), known
    places = [float(i) for i in range(len(result.points))]
    names = tuple(zip(places, (short_name(p.name) for p in result.points), strict=True))
    return Axis("checkpoint", names), places


def short_name(name: str) -> str:
    """Return the last part of a path, any other name as it is."""
    return name.rstrip("/").rpartition("/")[2] or name


def reselection_events(result: StabilityResult, axis: Axis) -> list[Event]:
    """Return where heads were chosen anew; none where points have no training step."""
    if axis.names is not None:
        return []
    return [Event(float(r.step), text) for r, text in zip(result.reselections, reselection_lines(result), strict=True)]


def reselection_lines(result: StabilityResult) -> list[str]:
    """Return one line for each time heads were chosen anew."""
    lines = []
    for r in result.reselections:
        scores = ""
        if r.sra_old is not None and r.sra_new is not None:
            scores = f", SRA {three_digits(r.sra_old)} → {three_digits(r.sra_new)} on the half they were not chosen on"
        kept = sorted(r.old) == sorted(r.new)
        what = (
            f"kept {head_names(r.old)}, nothing better found" if kept else f"{head_names(r.old)} → {head_names(r.new)}"
        )
        lines.append(f"step {r.step:,}: heads chosen anew, {what}{scores}")
    return lines


def _under(result: StabilityResult) -> list[int]:
    sra = below([p.sra.value for p in result.points], result.min_sra)
    return [i + 1 for i in sra + below([p.pearson.value for p in result.points], result.min_pearson)]


def below(values: Sequence[float], bound: float | None) -> list[int]:
    """Return the indices of values under a bound."""
    return [] if bound is None else [i for i, v in enumerate(values) if v < bound]


def stability_view(name: str, result: StabilityResult) -> StabilityView:
    """Return one run's stability as it is shown; `name` is the arm, or empty for the run itself."""
    axis, places = stability_axis(result)
    events = reselection_events(result, axis)
    sra = _stability_panel(
        "SRA on the probe set",
        "half of all pairs would be chance, 0.5",
        axis,
        places,
        [
            _series("all pairs", 1, places, result.points, [p.sra for p in result.points]),
            _series("length-matched pairs", 3, places, result.points, [p.sra_length_matched for p in result.points]),
        ],
        result.min_sra,
        events,
    )
    pearson = _stability_panel(
        "Correlation of step scores with the start",
        "Pearson",
        axis,
        places,
        [
            _series("all steps", 1, places, result.points, [p.pearson for p in result.points]),
            _series("within responses", 3, places, result.points, [p.pearson_within for p in result.points]),
        ],
        result.min_pearson,
        events,
    )
    return StabilityView(
        name=name,
        sentence=stability_sentence(result),
        panels=tuple(p for p in (sra, pearson) if p is not None),
        signs=tuple(
            sign
            for sign, there in (
                (("bad", "▼", "under the bound"), any(_under(result))),
                (("", "▲", "heads chosen anew"), bool(events)),
            )
            if there
        ),
        warnings=tuple(result.warnings),
        reselections=tuple(reselection_lines(result)),
    )


def stability_sentence(result: StabilityResult) -> str:
    """Return the lowest SRA and correlation over all points, and the last ones."""
    if not result.points:
        return "No point was measured."
    lowest = min(result.points, key=lambda p: p.sra.value)
    drift = min(result.points, key=lambda p: p.pearson.value)
    last = result.points[-1]
    return (
        f"Heads {head_names(result.heads)} at {len(result.points)} points: SRA {written(result.points[0].sra)} at the "
        f"start, {written(last.sra)} at the end, lowest {three_digits(lowest.sra.value)} ({short_name(lowest.name)}); "
        f"correlation with the start {written(last.pearson)} at the end, lowest {three_digits(drift.pearson.value)} "
        f"({short_name(drift.name)})."
    )


def _series(
    title: str,
    index: int,
    places: Sequence[float],
    points: Sequence[StabilityPoint],
    values: Sequence[Interval | None],
) -> Series | None:
    found = [(x, i, p) for x, i, p in zip(places, values, points, strict=True) if i is not None]
    if not found:
        return None
    return Series(
        key_mark(title, index),
        tuple(x for x, _, _ in found),
        tuple(i.value for _, i, _ in found),
        tuple(i for _, i, _ in found),
    )


def _stability_panel(
    title: str,
    note: str,
    axis: Axis,
    places: Sequence[float],
    series: Sequence[Series | None],
    bound: float | None,
    events: Sequence[Event],
) -> Panel | None:
    drawn = [s for s in series if s is not None]
    if not drawn:
        return None
    under = [
        Event(places[i], f"{axis.name(places[i])}: {three_digits(drawn[0].ys[i])} is under {bound:g}", bad=True)
        for i in below(drawn[0].ys, bound)
    ]
    return curve_panel(
        title,
        drawn,
        axis,
        write=lambda value: axis_number(value) if abs(value) >= 1 else f"{value:.3f}".rstrip("0").rstrip("."),
        exact=three_digits,
        ceiling=1.0,
        bounds=[] if bound is None else [Bound(bound, f"bound {bound:g}")],
        events=[*events, *under],
        note=note,
        width=460.0,
        height=280.0,
        keyed=True,
    )
