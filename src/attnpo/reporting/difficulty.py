"""The evaluation by difficulty: small charts."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from attnpo.evaluation.metrics import group_order
from attnpo.reporting.marks import ArmMark
from attnpo.reporting.panels import Panel, Series, interval_panel
from attnpo.reporting.run_folder import Arm
from attnpo.reporting.svg import axis_number, axis_percent

QUANTITIES: tuple[tuple[str, str, bool], ...] = (
    ("Answered right", "accuracy", True),
    ("Tokens a response", "response_tokens", False),
    ("Redundant steps left", "redundant_steps", False),
)


def difficulties(arms: Sequence[Arm]) -> list[str]:
    """Return all difficulties that any evaluation knows."""
    return group_order(d for arm in arms if arm.evaluation for d in arm.evaluation.by_difficulty)


def difficulty_panels(arms: Sequence[Arm], marks: Mapping[str, ArmMark]) -> list[Panel]:
    """Return the charts over difficulty; empty with fewer than two difficulties."""
    names = difficulties(arms)
    if len(names) < 2:
        return []
    panels = []
    for title, field, share in QUANTITIES:
        series = [s for arm in arms if (s := _series(arm, marks[arm.name], names, field)) is not None]
        if series:
            write: Callable[[float], str] = axis_percent if share else axis_number
            panels.append(interval_panel(title, names, series, write, ceiling=1.01 if share else None))
    return panels


def _series(arm: Arm, mark: ArmMark, names: Sequence[str], field: str) -> Series | None:
    assert arm.evaluation is not None
    found = [
        (float(place), interval)
        for place, name in enumerate(names)
        if name in arm.evaluation.by_difficulty
        and (interval := getattr(arm.evaluation.by_difficulty[name], field)) is not None
    ]
    if not found:
        return None
    return Series(mark, tuple(x for x, _ in found), tuple(i.value for _, i in found), tuple(i for _, i in found))
