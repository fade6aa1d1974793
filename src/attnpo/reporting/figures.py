"""The page's charts as files of their own: PNG, or SVG where the file's suffix asks for it.

The charts are those of the page (SVG), put on one sheet with the page's style. resvg draws the PNG with the fonts in
`fonts`, so that it looks the same on a machine without any.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from importlib.resources import as_file, files
from pathlib import Path
from typing import Any

from markupsafe import Markup

from attnpo.discovery.evidence import InterventionResult, StabilityResult
from attnpo.discovery.result import DiscoveryResult
from attnpo.errors import DataError, OutputError
from attnpo.evaluation.result import EvaluationResult
from attnpo.reporting.curves import training_panels
from attnpo.reporting.frontier import frontier_points, frontier_svg
from attnpo.reporting.heads import ensemble_panel, head_names
from attnpo.reporting.heat import heat_legend, heat_map
from attnpo.reporting.intervention import intervention_view
from attnpo.reporting.marks import ArmMark, arm_marks, key_mark
from attnpo.reporting.palette import light_css
from attnpo.reporting.panels import Panel
from attnpo.reporting.run_folder import Arm
from attnpo.reporting.skeleton import template_text
from attnpo.reporting.stability import stability_view
from attnpo.reporting.svg import element, label, number

GAP = 24.0
LINE = 18.0
"""Height of a line of text."""
CHARACTER = 6.6
"""Width of a character of a key in drawing units."""
MOST_CURVES = 6
PIXELS = 2.0
"""Pixels of a PNG a drawing unit."""


def save_heatmap(result: DiscoveryResult, path: Path) -> Path:
    """Draw SRA over layers × heads on the held-out half, chosen heads outlined, best and mean of each layer beside.

    Raises:
        OutputError: the file cannot be written.
    """
    bounds = (result.sra_report_low, result.sra_report_high) if result.sra_report_low else None
    title = "SRA on the held-out half"
    drawing = heat_map(result.sra_report, result.chosen, title, result.relative_attention, bounds, profile=True)
    chosen = f"chosen {head_names(result.chosen)}: {result.chosen_sra.value:.3f}"
    return save_panels([Panel(title, drawing, chosen), Panel("", heat_legend())], path, columns=1)


def save_ensemble_curves(result: DiscoveryResult, path: Path) -> Path:
    """Draw SRA of the ensemble against the number of heads: greedy against top-k, both halves, chosen set ringed.

    Raises:
        DataError: the result holds no ensembles.
        OutputError: the file cannot be written.
    """
    panel = ensemble_panel(result)
    if panel is None:
        raise DataError("ensemble curves: the discovery holds no ensembles; make it again with `attnpo discover`")
    key = (key_mark("greedy", 1), key_mark("top-k", 2))
    note = "solid: reported half, dashed: selecting half, ring: chosen"
    return save_panels([Panel(panel.title, panel.svg, note, key)], path)


def save_intervention(result: InterventionResult, path: Path) -> Path:
    """Draw accuracy after removing the lowest-scored, random and highest-scored steps beside the untouched traces.

    Raises:
        DataError: nothing was removed in any condition.
        OutputError: the file cannot be written.
    """
    if not result.amounts:
        raise DataError("intervention: no condition removed anything; make it again with `attnpo discover`")
    view = intervention_view(result)
    return save_panels([Panel("Answers right after removing steps", view.wide, marks=view.marks)], path)


def save_stability(result: StabilityResult, path: Path) -> Path:
    """Draw SRA and the correlation of scores with the start over training, bounds and re-selections marked.

    Raises:
        DataError: the result holds no points.
        OutputError: the file cannot be written.
    """
    if not result.points:
        raise DataError("stability: the result holds no points; make it again with `attnpo train` or `attnpo discover`")
    view = stability_view("", result)
    signs = [f"{sign} {meaning}" for _, sign, meaning in view.signs]
    notes = ("; ".join([f"heads {head_names(result.heads)}", *signs]), "Pearson")
    return save_panels([replace(p, note=note) for p, note in zip(view.panels, notes, strict=False)], path)


def save_frontier(results: Mapping[str, EvaluationResult], path: Path) -> Path:
    """Draw accuracy against tokens with crosses of 95 % intervals.

    Args:
        results: arm name → evaluation.
        path: the file to write.

    Raises:
        DataError: there are no results.
        OutputError: the file cannot be written.
    """
    return save_frontiers({"": results}, path, (720.0, 440.0))


def save_frontiers(
    benchmarks: Mapping[str, Mapping[str, EvaluationResult]], path: Path, size: tuple[float, float] = (400.0, 330.0)
) -> Path:
    """Draw one frontier a data set in one figure.

    Args:
        benchmarks: name of the data set → arm name → evaluation.
        path: the file to write.
        size: width and height of one frontier, in drawing units.

    Raises:
        DataError: there are no results.
        OutputError: the file cannot be written.
    """
    panels = []
    marks = arm_marks([Arm(arm) for arm in dict.fromkeys(arm for results in benchmarks.values() for arm in results)])
    for name, results in benchmarks.items():
        if results:
            places = {arm: (e.overall.response_tokens, e.overall.accuracy) for arm, e in results.items()}
            panels.append(Panel(name, frontier_svg(frontier_points(places, marks), *size)))
    if not panels:
        raise DataError("frontier: no evaluations to draw; make one with `attnpo evaluate`")
    return save_panels(panels, path)


def save_training_curves(log: Sequence[Mapping[str, Any]], path: Path) -> Path:
    """Draw what training logged against optimizer steps, the first quantities that were logged at two steps or more.

    Args:
        log: log lines with their `step`.
        path: the file to write.

    Raises:
        DataError: no quantity was logged at two steps.
        OutputError: the file cannot be written.
    """
    arm = Arm("attnpo", log=tuple(map(dict, log)))
    panels = training_panels([arm], arm_marks([arm]))[:MOST_CURVES]
    if not panels:
        raise DataError("training curves: nothing was logged at two steps or more; train longer, or set logging_steps")
    return save_panels(panels, path)


def save_panels(panels: Sequence[Panel], path: Path, columns: int = 3, key: Sequence[ArmMark] = ()) -> Path:
    """Draw panels in rows and return the file.

    Args:
        panels: at least one.
        path: the file to write; its suffix says whether as SVG or as PNG.
        columns: panels a row.
        key: marks of the whole figure, at its top.

    Raises:
        OutputError: the file cannot be written.
    """
    drawing = sheet(panels, columns, key)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(drawing.encode("utf-8") if path.suffix.lower() == ".svg" else _png(drawing))
    except OSError as error:
        raise OutputError(f"{path}: cannot write the figure ({error.strerror}); choose another file") from error
    return path


def sheet(panels: Sequence[Panel], columns: int = 3, key: Sequence[ArmMark] = ()) -> str:
    """Return panels in rows as one SVG document; see `save_panels`."""
    parts, width, y = [_key(key, GAP, GAP)] if key else [], 0.0, GAP + LINE * bool(key)
    for start in range(0, len(panels), columns):
        x, height = GAP, 0.0
        for panel in panels[start : start + columns]:
            drawn, size = _cell(panel, x, y)
            parts.append(drawn)
            x, height = x + size[0] + GAP, max(height, size[1])
        width, y = max(width, x), y + height + GAP
    style = element("style", Markup(light_css(template_text("figure.css"))))
    return element(
        "svg",
        style,
        element("rect", width=width, height=y, fill="white"),
        *parts,
        xmlns="http://www.w3.org/2000/svg",
        width=width,
        height=y,
        viewBox=f"0 0 {number(width)} {number(y)}",
        font_family="Figure Sans, sans-serif",
    )


def _cell(panel: Panel, x: float, y: float) -> tuple[Markup, tuple[float, float]]:
    """Return a panel with its title above and its key below, and how much room they take."""
    parts, top = [], y
    for text, css in ((panel.title, "title"), (panel.note, "tick")):
        if text:
            parts.append(label(text, x, top + 12, class_=css))
            top += LINE
    found = re.search(r'viewBox="0 0 (\S+) (\S+)"', panel.svg)
    assert found is not None
    width, height = float(found[1]), float(found[2])
    place = f'<svg x="{number(x)}" y="{number(top)}" width="{found[1]}" height="{found[2]}" overflow="visible" '
    parts.append(Markup(str(panel.svg).replace("<svg ", place, 1)))
    top += height + 4
    if panel.marks:
        parts.append(_key(panel.marks, x, top))
        top += LINE
    return element("g", *parts, class_="plot"), (width, top - y)


def _key(marks: Sequence[ArmMark], x: float, y: float) -> Markup:
    parts = []
    for mark in marks:
        parts.append(element("g", mark.shape(x + 6, y + 8, 5), class_=mark.css))
        parts.append(label(mark.title, x + 17, y + 12))
        x += 17 + CHARACTER * len(mark.title) + 14
    return element("g", *parts, class_="plot")


def _png(drawing: str) -> bytes:
    import resvg_py

    with as_file(files("attnpo.reporting") / "fonts") as fonts:
        return resvg_py.svg_to_bytes(svg_string=drawing, zoom=PIXELS, font_dirs=[str(fonts)])
