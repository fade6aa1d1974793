"""Write the report of a run folder and the page of one response: one file each, opens offline, loads nothing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from attnpo.reporting.curves import training_panels
from attnpo.reporting.headline import Headline, headline
from attnpo.reporting.heads_section import has_proof, head_views
from attnpo.reporting.marks import arm_marks
from attnpo.reporting.result_section import chips, result_context, tiles
from attnpo.reporting.run_folder import Arm, RunFolder, load_run_folder
from attnpo.reporting.settings_section import settings_groups
from attnpo.reporting.skeleton import environment, write_page
from attnpo.reporting.traces import trace_cases, trace_view
from attnpo.reporting.wording import arm_title
from attnpo.rollouts import Rollout

PANELS_SHOWN = 6
"""Training curves in sight; the others fold away."""


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
    run = load_run_folder(run_dir)
    output = run_dir / "report.html" if output is None else Path(output)
    return write_page(render_report(run, title or f"attnpo report: {run_dir.resolve().name}"), output)


def render_report(run: RunFolder, title: str) -> str:
    """Return the report of a run folder as HTML."""
    marks, top = arm_marks(run.arms), headline(run)
    cases, left_out = trace_cases({arm.name: arm.traces for arm in run.arms if arm.traces})
    panels = training_panels(run.arms, marks)
    untrained = [arm for arm in run.arms if not arm.starts and not arm.log]
    context = {
        "title": title,
        "eyebrow": _eyebrow(run, top),
        "headline": top,
        "tiles": tiles(run, top),
        "chips": chips(marks),
        "marks": marks,
        **result_context(run, top, marks),
        "training": panels[:PANELS_SHOWN],
        "training_more": panels[PANELS_SHOWN:],
        "untrained": _untrained(untrained),
        "head_sets": head_views(run),
        "cases": cases,
        "cases_left_out": left_out,
        "commands": {folder: about["command"] for folder, about in run.about.items() if about.get("command")},
        "settings": settings_groups(run),
    }
    context["nav"] = sections(run, context)
    context["shown"] = {name for name, _ in context["nav"]}
    return environment().get_template("report.html.jinja").render(**context)


def sections(run: RunFolder, context: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return the sections of a page as (id, name in the menu).

    A folder without arms is about heads alone. With arms, what is missing is said in its place; what only some runs
    have (several data sets, several samples, subjects, proofs) appears where it is there.
    """
    arms, evaluated = bool(run.arms), bool(run.evaluated or not context["benchmarks"])
    wanted = [
        ("frontier", "Result", arms and evaluated),
        ("benchmarks", "Data sets", bool(context["benchmarks"])),
        ("measures", "Samples", bool(context["measures"] or context["subjects"].rows)),
        ("difficulty", "Difficulty", bool(run.evaluated)),
        ("training", "Training", arms and bool(evaluated or context["training"])),
    ]
    for view in context["head_sets"]:
        found, suffix = view["discovery"] is not None, view["suffix"]
        place = f": {view['folder']}" if view["folder"] else ""
        wanted += [
            (f"heads{suffix}", f"Heads{place}", found or (arms and evaluated and not place)),
            (f"labels{suffix}", "Labels", found),
            (f"proof{suffix}", "Proof" if found else f"Proof{place}", has_proof(view) or (found and not arms)),
        ]
    wanted += [
        ("traces", "Traces", arms and bool(evaluated or context["cases"])),
        ("how", "Settings", True),
    ]
    return [(name, title) for name, title, there in wanted if there]


def render_trace_html(rollout: Rollout, baseline: float | None = None, title: str | None = None) -> str:
    """Return one response as a self-contained HTML page.

    Args:
        rollout: the response; scores, factors and labels may be missing.
        baseline: S_base of the response; by default Eq. 6 with the published settings, from the rollout's own fields.
        title: title of the page.
    """
    view = trace_view(rollout, baseline)
    title = title or f"attnpo: response {rollout.sample} to problem {rollout.problem_id}"
    return environment().get_template("trace.html.jinja").render(title=title, view=view)


def _eyebrow(run: RunFolder, top: Headline) -> str:
    if top.subject is not None and top.subject.evaluation is not None:
        start = top.reference.evaluation if top.reference is not None else None
        return Path((start or top.subject.evaluation).model).name
    return ", ".join(dict.fromkeys(Path(heads.model).name for heads in run.heads if heads.model))


def _untrained(arms: Sequence[Arm]) -> str:
    if not arms:
        return ""
    names = ", ".join(arm_title(arm.name) for arm in arms)
    return f"No curves for {names}: no trainer_state.json in the arm's folder."
