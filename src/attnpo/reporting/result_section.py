"""The parts of the page that are about the evaluation: the numbers on top, the frontier, tables and charts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from attnpo.discovery.evidence import InterventionResult
from attnpo.discovery.result import DiscoveryResult
from attnpo.metrics import METRICS
from attnpo.reporting.benchmarks import benchmark_panels, benchmark_table
from attnpo.reporting.difficulty import difficulty_panels
from attnpo.reporting.frontier import frontier_points, frontier_svg
from attnpo.reporting.headline import Headline, problems
from attnpo.reporting.intervention import untouched
from attnpo.reporting.marks import ArmMark
from attnpo.reporting.measures import group_table, measure_panels, number_table
from attnpo.reporting.run_folder import Arm, RunFolder
from attnpo.reporting.wording import (
    arm_title,
    bounds,
    count,
    direction,
    percent,
    plural,
    signed,
)
from attnpo.statistics import Interval
from attnpo.tables import Column, Row, Table, Value, number_of


@dataclass(frozen=True)
class Tile:
    """A number on top: what it was before or what it is compared with, and how it differs.

    Attributes:
        name: what it is.
        value: the number.
        before: words behind it.
        change: how it differs.
        kind: better, worse or unclear.
    """

    name: str
    value: str
    before: str
    change: str
    kind: str


@dataclass(frozen=True)
class Chip:
    """A legend button: shows and hides a method in every figure."""

    mark: ArmMark
    title: str


def chips(marks: Mapping[str, ArmMark]) -> list[Chip]:
    """Return one legend button a method."""
    first: dict[str, ArmMark] = {}
    for mark in marks.values():
        first.setdefault(mark.method, mark)
    return [Chip(mark, arm_title(method)) for method, mark in first.items()]


def tiles(run: RunFolder, top: Headline) -> list[Tile]:
    """Return the numbers on top: of the trained arm where there is one, else of discovery."""
    found = arm_tiles(top)
    if not found and top.subject is None and len(run.discoveries) == 1:
        heads = next(heads for heads in run.heads if heads.discovery is not None)
        return discovery_tiles(run.discoveries[0], heads.intervention)
    return found


def arm_tiles(top: Headline) -> list[Tile]:
    """Return the numbers before and after; only accuracy and tokens have a paired difference."""
    if top.subject is None or top.reference is None:
        return []
    difference = top.subject.minus(top.reference)
    if difference is None or top.subject.evaluation is None or top.reference.evaluation is None:
        return []
    now, before = top.subject.evaluation.overall, top.reference.evaluation.overall
    points = 100 * difference.accuracy.value
    way = direction(difference.accuracy)
    made = [
        Tile(
            "answered right",
            percent(now.accuracy.value),
            f"from {percent(before.accuracy.value)}",
            f"{signed(f'{abs(points):.1f}', points)} points" if way else "no measurable difference",
            _kind(way),
        ),
        _count_tile("tokens a response", now.response_tokens, before.response_tokens, direction(difference.tokens)),
    ]
    if now.redundant_steps is not None and before.redundant_steps is not None:
        made.append(_count_tile("redundant steps a response", now.redundant_steps, before.redundant_steps))
    made.append(_count_tile("confused phrases a response", now.confused_phrases, before.confused_phrases))
    return made


def _count_tile(name: str, now: Interval, before: Interval, way: int | None = None) -> Tile:
    if way is None:  # two intervals that overlap are no measurable difference
        way = 1 if now.low > before.high else -1 if now.high < before.low else 0
    change = (now.value - before.value) / before.value if before.value else 0.0
    words = f"{signed(percent(abs(change), 0), change)}" if way else "no measurable difference"
    return Tile(name, count(now.value), f"from {count(before.value)}", words, _kind(-way))


def _kind(way: int) -> str:
    return {1: "better", -1: "worse", 0: "unclear"}[way]


def discovery_tiles(found: DiscoveryResult, intervention: InterventionResult | None) -> list[Tile]:
    """Return the numbers that a head set stands on."""
    sra, matched = found.chosen_sra, found.chosen_sra_length_matched
    made = [Tile("pairs of steps ranked right", percent(sra.value), bounds(sra, True), "half is chance", "unclear")]
    if matched is not None:
        rivals = {n: r.sra_length_matched for n, r in found.trivial.items() if r.sra_length_matched is not None}
        best = max(rivals, key=lambda name: rivals[name].value, default=None)
        change = "" if best is None else f"best trivial rule {percent(rivals[best].value)}"
        kind = "unclear" if best is None else "better" if rivals[best].high < matched.low else "worse"
        made.append(Tile("on pairs of like length", percent(matched.value), bounds(matched, True), change, kind))
    credit = found.credit_accuracy
    if "PA redundant" in credit and "PA essential" in credit:
        hit, miss = credit["PA redundant"], credit["PA essential"]
        change = f"essential ones {percent(miss.value)}"
        made.append(
            Tile("redundant tokens attenuated", percent(hit.value), "", change, _kind(int(hit.low > miss.high)))
        )
    if intervention is not None and (start := untouched(intervention)) is not None:
        harmed = [c for c in intervention.conditions if c.name == "highest"]
        if harmed:
            last = harmed[-1]
            way = 0 if last.difference is None else direction(last.difference)
            made.append(
                Tile(
                    "right without top-scored steps",
                    percent(last.accuracy.value),
                    f"from {percent(start.accuracy.value)}",
                    "" if way else "no measurable difference",
                    "unclear",
                )
            )
    return made


def result_context(run: RunFolder, top: Headline, marks: Mapping[str, ArmMark]) -> dict[str, Any]:
    """Return what the template needs for frontier, tables and charts of the evaluation."""
    arms = run.evaluated
    summaries = {a.name: a.evaluation.overall for a in arms if a.evaluation is not None}
    points = frontier_points({n: (s.response_tokens, s.accuracy) for n, s in summaries.items()}, marks)
    several = [arm for arm in run.arms if arm.benchmarks]
    return {
        "frontier": {"wide": frontier_svg(points, 1120, 440), "narrow": frontier_svg(points, 380, 360)}
        if points
        else None,
        "arms": arm_table(arms, top.subject, marks),
        "deltas": len(arms) > 1,
        "subject": top.subject.name if top.subject else "",
        "measured_on": _measured_on(top.subject) if top.subject else "",
        "incomplete": _incomplete(run.arms),
        "benchmarks": benchmark_panels(several, marks),
        "benchmark_table": benchmark_table(several, marks),
        "difficulty": difficulty_panels(arms, marks),
        "difficulties": group_table("difficulty", arms, marks),
        "measures": measure_panels(arms, marks),
        "numbers": number_table(arms, marks),
        "subjects": group_table("subject", arms, marks),
    }


def arm_table(arms: Sequence[Arm], subject: Arm | None, marks: Mapping[str, ArmMark]) -> Table:
    """Return one row an arm: what was measured and, where there are several, its differences from the subject."""
    found = [(arm, arm.evaluation.overall) for arm in arms if arm.evaluation is not None]
    labelled = any(summary.redundant_steps is not None for _, summary in found)
    steps = ("redundant_steps", "essential_steps") if labelled else ("steps",)
    metrics = ("accuracy", "response_tokens", *steps, "confused_phrases", "truncated")
    heads = [Column("arm"), Column("answered right"), *(Column(METRICS[m].title) for m in metrics[1:])]
    several = len(found) > 1 and subject is not None
    if subject is not None and several:
        heads += [Column(title, note=f"against {marks[subject.name].title}") for title in ("points", "tokens")]
    rows = []
    for arm, summary in found:
        cells: list[Value] = [number_of(metric, getattr(summary, metric)) for metric in metrics]
        if subject is not None and several:
            difference = None if arm is subject else arm.minus(subject)
            if difference is None and arm is not subject:
                cells += ["other problems"] * 2
            else:
                values = (None, None) if difference is None else (difference.accuracy, difference.tokens)
                pairs = zip(("accuracy", "response_tokens"), values, strict=True)
                cells += [number_of(metric, value, difference=True) for metric, value in pairs]
        rows.append(Row(arm.name, tuple(cells)))
    return Table(tuple(heads), tuple(rows))


def _measured_on(arm: Arm) -> str:
    assert arm.evaluation is not None
    e = arm.evaluation
    samples = plural(e.samples_per_problem, "sample")
    return f"Measured on {problems(arm)} of {e.dataset}, {samples} each. Small figures: 95 % intervals."


def _incomplete(arms: Sequence[Arm]) -> list[str]:
    """Return a line for what every evaluation lacks: problems, exact lengths, responses."""
    lines = []
    for arm in arms:
        for place, e in (("", arm.evaluation), *((f" on {name}", e) for name, e in arm.benchmarks.items())):
            if e is None:
                continue
            title = f"{arm_title(arm.name)}{place}"
            if not e.complete:
                asked = "" if e.num_problems_asked is None else f" of {e.num_problems_asked:,}"
                lines.append(f"{title}: not complete, {e.num_problems:,}{asked} problems are finished.")
            if not e.exact_token_counts:
                lines.append(f"{title}: the engine reported text, so lengths are those of the text tokenized again.")
            if e.failures_said:
                lines.append(f"{title}: {e.failures_said}.")
    return lines
