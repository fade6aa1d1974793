"""Write the report of a run folder and the page of one response: one file each, opens offline, loads nothing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

import attnpo
from attnpo.discovery.result import DiscoveryResult
from attnpo.errors import OutputError
from attnpo.evaluation.result import Summary
from attnpo.output import write_atomically
from attnpo.reporting import heads
from attnpo.reporting.comparison import compare, direction
from attnpo.reporting.curves import training_panels
from attnpo.reporting.difficulty import difficulty_panels, difficulty_rows
from attnpo.reporting.frontier import frontier_points, frontier_svg
from attnpo.reporting.headline import Headline, headline, problems
from attnpo.reporting.marks import ArmMark, arm_marks
from attnpo.reporting.palette import palette_css
from attnpo.reporting.run_folder import Arm, RunFolder, load_run
from attnpo.reporting.traces import trace_cases, trace_view
from attnpo.reporting.wording import (
    MINUS,
    IntervalLike,
    arm_title,
    bounds,
    count,
    duration,
    percent,
    plural,
    signed,
    signed_bounds,
)
from attnpo.rollouts import Rollout

SECTIONS = (
    ("frontier", "Result"),
    ("difficulty", "Difficulty"),
    ("training", "Training"),
    ("heads", "Heads"),
    ("traces", "Traces"),
    ("how", "Settings"),
)
PANELS_SHOWN = 6
"""Training curves in sight; the others fold away."""


@dataclass(frozen=True)
class Tile:
    """A number before and after; `kind` is better, worse or unclear."""

    name: str
    value: str
    before: str
    change: str
    kind: str


@dataclass(frozen=True)
class ArmRow:
    """One arm of the table; each of `deltas` is value, interval and whether the difference is measurable."""

    mark: ArmMark
    summary: Summary
    subject: bool
    deltas: tuple[tuple[str, str, bool], ...]


@dataclass(frozen=True)
class Chip:
    """A legend button: shows and hides a method in every figure."""

    mark: ArmMark
    title: str


@dataclass(frozen=True)
class SettingsGroup:
    """Settings that one file recorded."""

    name: str
    rows: tuple[tuple[str, str], ...]


def write_report(run_dir: Path, output: Path | None = None, title: str | None = None) -> Path:
    """Write the report of a run folder as one HTML file.

    Args:
        run_dir: the run folder.
        output: the file to write; `report.html` in the run folder by default.
        title: title of the page; the name of the folder by default.

    Returns:
        The file written.

    Raises:
        DataError: the folder is missing or empty, or a file in it is malformed.
        OutputError: the file cannot be written.
    """
    run_dir = Path(run_dir)
    run = load_run(run_dir)
    output = run_dir / "report.html" if output is None else Path(output)
    page = render_report(run, title or f"attnpo report: {run_dir.resolve().name}")
    try:
        output.parent.mkdir(parents=True, exist_ok=True)
        # A response cut inside a character may hold a lone surrogate, which UTF-8 cannot write.
        write_atomically(output, page.encode("utf-8", "replace").decode("utf-8"))
    except OSError as error:
        raise OutputError(f"{output}: cannot write the report ({error.strerror}); choose another file") from error
    return output


def render_report(run: RunFolder, title: str) -> str:
    """Return the report of a run folder as HTML."""
    marks, top = arm_marks(run.arms), headline(run)
    cases, left_out = trace_cases({arm.name: arm.traces for arm in run.arms if arm.traces})
    panels = training_panels(run.arms, marks)
    untrained = [arm for arm in run.arms if arm.method != "base" and not arm.log]
    template = _environment().get_template("report.html.jinja")
    return template.render(
        title=title,
        eyebrow=_eyebrow(run, top),
        headline=top,
        tiles=_tiles(top),
        nav=SECTIONS,
        chips=_chips(marks),
        marks=marks,
        **_result_section(run, top, marks),
        difficulty=difficulty_panels(run.evaluated, marks),
        difficulty_marks=[marks[arm.name] for arm in run.evaluated],
        difficulty_rows=difficulty_rows(run.evaluated),
        training=panels[:PANELS_SHOWN],
        training_more=panels[PANELS_SHOWN:],
        untrained=_untrained(untrained),
        **_heads_section(run.discovery),
        cases=cases,
        cases_left_out=left_out,
        command=run.about.get("command"),
        settings=_settings(run),
    )


def render_trace_html(rollout: Rollout, baseline: float | None = None, title: str | None = None) -> str:
    """Return one response as a self-contained HTML page.

    Args:
        rollout: the response; scores, factors and labels may be missing.
        baseline: S_base of the response; by default Eq. 6 with the published settings, from the rollout's own fields.
        title: title of the page.
    """
    view = trace_view(rollout, baseline)
    title = title or f"attnpo: response {rollout.sample} to problem {rollout.problem_id}"
    return _environment().get_template("trace.html.jinja").render(title=title, view=view)


def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("attnpo.reporting"), autoescape=True, undefined=StrictUndefined, trim_blocks=True
    )
    templates = files("attnpo.reporting") / "templates"
    # Shades come last: they overrule the plain backgrounds.
    css = (templates / "report.css").read_text(encoding="utf-8") + palette_css()
    environment.globals.update(
        css=Markup(css),
        script=Markup((templates / "report.js").read_text(encoding="utf-8")),
        version=attnpo.__version__,
        percent=percent,
        count=count,
        bounds=bounds,
        signed=signed,
    )
    return environment


def _eyebrow(run: RunFolder, top: Headline) -> str:
    if top.subject is not None and top.subject.evaluation is not None:
        start = top.reference.evaluation if top.reference is not None else None
        return Path((start or top.subject.evaluation).model).name
    return "" if run.discovery is None else Path(run.discovery.model).name


def _chips(marks: Mapping[str, ArmMark]) -> list[Chip]:
    first: dict[str, ArmMark] = {}
    for mark in marks.values():
        first.setdefault(mark.method, mark)
    return [Chip(mark, arm_title(method)) for method, mark in first.items()]


def _tiles(top: Headline) -> list[Tile]:
    """Return the numbers before and after; only accuracy and tokens have a paired difference."""
    if top.subject is None or top.reference is None:
        return []
    difference = compare(top.subject, top.reference)
    if difference is None or top.subject.evaluation is None or top.reference.evaluation is None:
        return []
    now, before = top.subject.evaluation.overall, top.reference.evaluation.overall
    points = 100 * difference.accuracy.value
    way = direction(difference.accuracy)
    tiles = [
        Tile(
            "answered right",
            percent(now.accuracy.value),
            percent(before.accuracy.value),
            f"{signed(f'{abs(points):.1f}', points)} points" if way else "no measurable difference",
            _kind(way),
        ),
        _count_tile("tokens a response", now.response_tokens, before.response_tokens, direction(difference.tokens)),
    ]
    if now.redundant_steps is not None and before.redundant_steps is not None:
        tiles.append(_count_tile("redundant steps a response", now.redundant_steps, before.redundant_steps))
    tiles.append(_count_tile("confused phrases a response", now.confused_phrases, before.confused_phrases))
    return tiles


def _count_tile(name: str, now: IntervalLike, before: IntervalLike, way: int | None = None) -> Tile:
    if way is None:  # two intervals that overlap are no measurable difference
        way = 1 if now.low > before.high else -1 if now.high < before.low else 0
    change = (now.value - before.value) / before.value if before.value else 0.0
    words = f"{signed(percent(abs(change), 0), change)}" if way else "no measurable difference"
    return Tile(name, count(now.value), count(before.value), words, _kind(-way))


def _kind(way: int) -> str:
    return {1: "better", -1: "worse", 0: "unclear"}[way]


def _result_section(run: RunFolder, top: Headline, marks: Mapping[str, ArmMark]) -> dict[str, Any]:
    arms = run.evaluated
    summaries = {a.name: a.evaluation.overall for a in arms if a.evaluation is not None}
    points = frontier_points({n: (s.response_tokens, s.accuracy) for n, s in summaries.items()}, marks)
    rows = [ArmRow(marks[a.name], summaries[a.name], a is top.subject, _deltas(a, top.subject)) for a in arms]
    return {
        "frontier": {"wide": frontier_svg(points, 1120, 440), "narrow": frontier_svg(points, 380, 360)}
        if points
        else None,
        "rows": rows,
        "deltas": len(arms) > 1,
        "subject_title": marks[top.subject.name].title if top.subject else "",
        "has_labels": any(s.redundant_steps is not None for s in summaries.values()),
        "measured_on": _measured_on(top.subject) if top.subject else "",
    }


def _deltas(arm: Arm, subject: Arm | None) -> tuple[tuple[str, str, bool], ...]:
    if subject is None or arm is subject:
        return (("–", "", False), ("–", "", False))
    difference = compare(arm, subject)
    if difference is None:
        return (("–", "other problems", False), ("–", "other problems", False))
    points, tokens = difference.accuracy, difference.tokens
    return (
        (_number(100 * points.value), signed_bounds(points, 100), direction(points) != 0),
        (_number(tokens.value), signed_bounds(tokens), direction(tokens) != 0),
    )


def _number(value: float) -> str:
    return f"{MINUS if value < 0 else '+'}{abs(value):.1f}"


def _measured_on(arm: Arm) -> str:
    assert arm.evaluation is not None
    e = arm.evaluation
    samples = plural(e.samples_per_problem, "sample")
    return f"Measured on {problems(arm)} of {e.dataset}, {samples} each. Small figures: 95 % intervals."


def _untrained(arms: Sequence[Arm]) -> str:
    if not arms:
        return ""
    names = ", ".join(arm_title(arm.name) for arm in arms)
    return f"No curves for {names}: no trainer_state.json in the arm's folder."


@dataclass(frozen=True)
class HeadRow:
    """One head of the table of best heads."""

    layer: int
    head: int
    select: float
    report: float


def _heads_section(result: DiscoveryResult | None) -> dict[str, Any]:
    if result is None:
        return {"discovery": None}
    ranked = sorted(
        (
            HeadRow(i, j, result.sra_select[i][j], sra)
            for i, row in enumerate(result.sra_report)
            for j, sra in enumerate(row)
        ),
        key=lambda head: -head.report,
    )
    return {
        "discovery": result,
        "heat": {
            "select": heads.heat_map(result.sra_select, result.chosen, "SRA on the half that heads are chosen on"),
            "report": heads.heat_map(
                result.sra_report, result.chosen, "SRA on the held-out half", result.relative_attention
            ),
            "legend": heads.heat_legend(),
            "chosen": ", ".join(f"{layer}.{head}" for layer, head in result.chosen),
        },
        "rules": heads.rule_rows(result),
        "credit": heads.credit_rows(result.credit_accuracy),
        "ensemble": heads.ensemble_chart(result),
        "best_heads": ranked[:10],
        "gates": result.gates.sentence(),
    }


def _settings(run: RunFolder) -> list[SettingsGroup]:
    groups = [
        SettingsGroup(str(name), _pairs(values))
        for name, values in dict(run.about.get("settings") or {}).items()
        if isinstance(values, Mapping)
    ]
    if isinstance(run.about.get("versions"), Mapping):
        groups.append(SettingsGroup("Versions", _pairs(run.about["versions"])))
    if run.discovery is not None:
        d = run.discovery
        rows = {"model": d.model, "data set": d.dataset, "labeler": d.labeler, "seed": d.seed}
        rows |= {
            "responses": f"{d.num_select:,} to choose on, {d.num_report:,} to report on",
            "time": duration(d.wall_seconds),
        }
        groups.append(SettingsGroup("Discovery", _pairs(rows)))
    for arm in run.evaluated:
        assert arm.evaluation is not None
        e = arm.evaluation
        rows = {"model": e.model, "data set": e.dataset, "problems": f"{e.num_problems:,} × {e.samples_per_problem}"}
        rows |= {
            "seed": e.seed,
            **e.sampling,
            "time": f"{duration(e.wall_seconds)}, {e.tokens_per_second:,.0f} tokens/s",
        }
        rows |= _training_rows(arm)
        groups.append(SettingsGroup(f"{arm_title(arm.name)}", _pairs(rows)))
    return groups


def _training_rows(arm: Arm) -> dict[str, Any]:
    last = arm.log[-1] if arm.log else {}
    rows: dict[str, Any] = {}
    if "step" in last:
        rows["trained for"] = f"{last['step']:,} steps"
    if "train_runtime" in last:
        rows["training time"] = duration(last["train_runtime"])
    return rows


def _pairs(values: Mapping[str, Any]) -> tuple[tuple[str, str], ...]:
    return tuple((str(key), str(value)) for key, value in values.items())
