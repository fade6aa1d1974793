"""What credits change: tables of every measure, and accuracy against length for the noise of a step."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from textwrap import shorten

from attnpo.gradients import GradientsResult
from attnpo.gradients.credits import TLMRE
from attnpo.gradients.result import CreditRow, Known
from attnpo.gradients.store import ADAM, PLAIN
from attnpo.reporting.curve_panel import Axis, curve_panel
from attnpo.reporting.figures import save_panels
from attnpo.reporting.marks import SHAPES, ArmMark, key_mark
from attnpo.reporting.panels import Panel, Series
from attnpo.statistics import Interval
from attnpo.tables import NOTHING, Table

logger = logging.getLogger(__name__)

TITLES: Mapping[str, str] = {PLAIN: "Plain inner product", ADAM: "Adam's metric"}
COLUMNS: Mapping[str, tuple[str, int]] = {
    "accuracy": ("accuracy", 3),
    "tokens_saved": ("tokens saved", 1),
    "outside": ("outside plane", 3),
    "above_curve": ("above TLMRE's curve", 3),
    "noise": ("noise", 2),
    "signal_to_noise": ("signal/noise", 3),
    "signal_to_noise_ratio": ("ratio", 2),
    "accuracy_for_noise": ("accuracy/√noise", 3),
}
"""Measure → title and decimals, in the terminal."""
MORE: Mapping[str, tuple[str, int]] = {
    "redundant_saved": ("redundant saved", 1),
    "essential_saved": ("essential saved", 1),
    "accuracy_for_noise_above_curve": ("accuracy/√noise above TLMRE's", 3),
    "accuracy_per_100_tokens_saved": ("accuracy per 100 tokens saved", 3),
    "redundant_per_token_saved": ("redundant per token saved", 2),
    "essential_per_token_saved": ("essential per token saved", 2),
    "tokens_for_noise": ("tokens saved/√noise", 1),
    "curve_strength": ("TLMRE's strength there", 2),
    "signal_to_noise_beside_curve": ("signal/noise over TLMRE's there", 2),
}
"""Further columns of the Markdown file."""
NOTE = (
    "First-order changes by a unit step along the mean gradient, ± one standard error (jackknife over batches). "
    "Outside plane: share of |μ|² outside the span of accuracy and TLMRE's length term. Above TLMRE's curve: accuracy "
    "beyond that of TLMRE's unit step that saves as many tokens, of whatever strength (below 0: its length term "
    "turned around). Ratio: signal to noise against accuracy, length, or TLMRE of the same strength; methods without "
    "its length term have none. A dash: not told from noise, not known without one of the batches, or TLMRE's unit "
    "step saves as many tokens at no strength. Groups that carry no advantage count with zeros, as most methods train "
    "on them; those that draw others instead (DLER, DOT) have more signal and noise a batch by the share of such "
    "groups."
)
LEVEL = 0.95
"""Coverage of the bands."""
SAVED, GAINED = "tokens saved for the noise of a step", "accuracy for the noise of a step"
TITLE = 40
"""Characters of a chart's title."""
MOST_TOGETHER = 6
"""More families have a chart each, TLMRE's curve in it."""


def gradients_table(result: GradientsResult, metric: str, more: bool = False) -> Table:
    """Return every credit with what a unit step along it changes; `more` adds columns."""
    columns = {**COLUMNS, **MORE} if more else COLUMNS
    rows = [
        [row.name, *(said(row.measures[metric].get(name), digits) for name, (_, digits) in columns.items())]
        for row in result.rows
    ]
    return Table.of(TITLES[metric], ["credit", *(title for title, _ in columns.values())], rows)


def said(known: Known | None, digits: int) -> str:
    """Return `Known.said`, a dash where there is nothing."""
    return NOTHING if known is None else known.said(digits)


def gradients_markdown(result: GradientsResult) -> str:
    """Return the tables and the cosines with TLMRE's curve as Markdown."""
    parts = [f"# Gradients of {result.model}", sentence(result), NOTE]
    for metric in TITLES:
        parts.append(f"## {TITLES[metric]}")
        if metric == ADAM and result.adam_epsilon:
            parts.append(
                f"Epsilon: {100 * result.adam_epsilon:g} % of the root mean square of the gradient that Adam's weights "
                "are of."
            )
        parts.append(gradients_table(result, metric, more=True).markdown())
        curve = [row.name for row in result.rows if row.family in ("accuracy", "length", "tlmre")]
        rows = [[row.name, *(said(row.cosines[metric][name], 3) for name in curve)] for row in result.rows]
        parts += ["Cosines of mean gradients:", Table.of("", ["credit", *curve], rows).markdown()]
    if result.left_out:
        parts.append(left_out(result))
    return "\n\n".join(parts) + "\n"


def sentence(result: GradientsResult) -> str:
    """Return what was measured on, in a sentence."""
    kept = "whole" if result.sketch is None else f"sketched to {result.sketch:,} numbers"
    responses = result.batches * result.problems_per_batch * result.group_size
    return (
        f"{responses:,} responses of {result.model} in {result.batches} batches of {result.problems_per_batch} × "
        f"{result.group_size}: {100 * result.accuracy:.1f} % right, {result.tokens:.1f} tokens; gradients by "
        f"{result.parameters:,} parameters, {kept}."
    )


def left_out(result: GradientsResult) -> str:
    """Return which methods give no credit to these responses, and why; those of one reason together."""
    by_reason: dict[str, list[str]] = {}
    for name, reason in result.left_out.items():
        by_reason.setdefault(reason, []).append(name)
    return "Left out: " + "; ".join(f"{', '.join(names)}: {reason}" for reason, names in by_reason.items()) + "."


def save_gradients(result: GradientsResult, path: Path) -> Path | None:
    """Draw accuracy against tokens saved for the noise of a step, methods as curves over their strength.

    A few are drawn together in each metric; of many each has a chart, in the plain metric, TLMRE beside it.
    Without a credit that changes something there is nothing to draw: None, and it is said.

    Raises:
        OutputError: the file cannot be written.
    """
    families = list(dict.fromkeys(row.family for row in _drawn(result)))
    if len(families) > MOST_TOGETHER and (apart := family_panels(result, families)):
        return save_panels(apart, path)
    marks = {family: key_mark(family, 1 + number % (len(SHAPES) - 1)) for number, family in enumerate(families)}
    shown = [metric for metric in TITLES if any(_point(row, metric) for row in _drawn(result))]
    if not shown:
        logger.warning("%s is not drawn: no credit changes anything on these responses", path)
        return None
    panels = [gradients_panel(result, metric, marks) for metric in shown]
    return save_panels(panels, path, columns=2, key=list(marks.values()))


def family_panels(result: GradientsResult, families: Sequence[str]) -> list[Panel]:
    """Return a chart for each family but TLMRE's, in the plain metric, TLMRE's curve in each; none where that has none.

    All share the vertical axis, which holds every point.
    """
    marks = {family: key_mark(family.split()[0].rstrip(","), 0 if family == TLMRE else 1) for family in families}
    by_family = _series(result, PLAIN, marks)
    if TLMRE not in by_family:
        return []
    heights = [y for series in by_family.values() for y in series.ys]
    room = 0.25 * (max(heights) - min(heights)) or 0.5
    return [
        curve_panel(
            shorten(family, TITLE, placeholder=" …"),
            [by_family[TLMRE], series],
            Axis(SAVED),
            limits=(min(heights) - room, max(heights) + room),
            note=GAINED if number == 0 else "",
            keyed=True,
        )
        for number, (family, series) in enumerate(item for item in by_family.items() if item[0] != TLMRE)
    ]


def gradients_panel(result: GradientsResult, metric: str, marks: Mapping[str, ArmMark]) -> Panel:
    """Return the picture in one metric: ⟨μ, ∇accuracy⟩ against ⟨μ, ∇saved tokens⟩, both over √noise."""
    series = list(_series(result, metric, marks).values())
    return curve_panel(TITLES[metric], series, Axis(SAVED), note=GAINED, width=460, height=330)


def _series(result: GradientsResult, metric: str, marks: Mapping[str, ArmMark]) -> dict[str, Series]:
    """Return the points of each family that has some, weakest first."""
    series = {}
    for family, mark in marks.items():
        rows = [row for row in _drawn(result) if row.family == family and _point(row, metric) is not None]
        rows.sort(key=lambda row: (row.strength is None, row.strength))
        if not rows:
            continue
        points = [_point(row, metric) for row in rows]
        series[family] = Series(
            mark,
            tuple(x for x, _ in filter(None, points)),
            tuple(y.value for _, y in filter(None, points)),
            tuple(y for _, y in filter(None, points)),
            tuple(row.name for row in rows),
        )
    return series


def _drawn(result: GradientsResult) -> list[CreditRow]:
    """Credits that are points of a curve, and those of the verdict alone."""
    return [row for row in result.rows if row.strength is not None or row.name.startswith("accuracy")]


def _point(row: CreditRow, metric: str) -> tuple[float, Interval] | None:
    saved, gained = (row.measures[metric][name].estimate for name in ("tokens_for_noise", "accuracy_for_noise"))
    return None if saved is None or gained is None else (saved.value, gained.interval(LEVEL))
