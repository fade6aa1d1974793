"""Training curves: what the trainer logged, one panel a quantity, one line an arm."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from attnpo.ranges import NUMBER
from attnpo.reporting.marks import ArmMark
from attnpo.reporting.panels import Panel, Series, line_panel
from attnpo.reporting.run_folder import Arm
from attnpo.reporting.svg import axis_number, axis_percent

MOST_POINTS = 160
"""A longer log is thinned to this many points an arm: a screen shows no more, and the page stays small."""


@dataclass(frozen=True)
class Quantity:
    """A logged quantity: the keys it may have in the log (the first one found counts), and how it is shown."""

    title: str
    keys: tuple[str, ...]
    share: bool = False
    note: str = ""

    @property
    def write(self) -> Callable[[float], str]:
        """How axis values are written."""
        return axis_percent if self.share else axis_number


QUANTITIES = (
    Quantity("Answered right", ("attnpo/accuracy",), True, "of the sampled responses"),
    Quantity("Response length", ("attnpo/response_length", "completions/mean_length"), note="tokens"),
    Quantity("Confused phrases", ("attnpo/phrases/confused",), note="a response"),
    Quantity("Steps attenuated", ("attnpo/steps_attenuated",), True, "redundant, rewarded less"),
    Quantity("Steps protected", ("attnpo/steps_protected",), True, "essential, not punished"),
    Quantity("Redundant steps", ("attnpo/steps/redundant",), note="a response"),
    Quantity("Essential steps", ("attnpo/steps/essential",), note="a response"),
    Quantity("Steps", ("attnpo/steps_per_response",), note="a response"),
    Quantity("Credit agreed with the labels", ("attnpo/credit_agreement",), True, "of touched, labelled steps"),
    Quantity("Mean factor γ", ("attnpo/gamma",), note="over all steps"),
    Quantity("Groups all correct", ("attnpo/all_correct_groups",), True, "nothing but length left to learn"),
    Quantity("Progression phrases", ("attnpo/phrases/progression",), note="a response"),
    Quantity("Summary phrases", ("attnpo/phrases/summary",), note="a response"),
    Quantity("Truncated", ("completions/clipped_ratio",), True, "cut at the token limit"),
)


def training_panels(arms: Sequence[Arm], marks: Mapping[str, ArmMark]) -> list[Panel]:
    """Return one panel for every quantity that at least one arm logged at two steps or more."""
    panels = []
    for quantity in QUANTITIES:
        series = [s for arm in arms if (s := _series(arm, marks[arm.name], quantity)) is not None]
        if not series or (quantity.title == "Truncated" and not any(any(s.ys) for s in series)):
            continue
        ceiling = 1.0 if quantity.share else None
        panels.append(line_panel(quantity.title, series, quantity.write, ceiling=ceiling, note=quantity.note))
    return panels


def _series(arm: Arm, mark: ArmMark, quantity: Quantity) -> Series | None:
    key = next((key for key in quantity.keys if any(key in entry for entry in arm.log)), None)
    if key is None:
        return None
    points = {
        float(entry["step"]): float(entry[key])
        for entry in arm.log
        if NUMBER.holds(entry.get("step")) and NUMBER.holds(entry.get(key))
    }
    if len(points) < 2:
        return None
    xs, ys = thinned(sorted(points), [points[x] for x in sorted(points)], MOST_POINTS)
    return Series(mark, tuple(xs), tuple(ys))


def thinned(xs: Sequence[float], ys: Sequence[float], most: int) -> tuple[list[float], list[float]]:
    """Return at most `most` points: means of equal runs of neighbours, placed at each run's last x."""
    if len(xs) <= most:
        return list(xs), list(ys)
    run = math.ceil(len(xs) / most)
    starts = range(0, len(xs), run)
    means = [sum(ys[i : i + run]) / len(ys[i : i + run]) for i in starts]
    return [xs[min(i + run, len(xs)) - 1] for i in starts], means
