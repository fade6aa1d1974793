"""What a training run sampled, read and did to advantages and to the steps it knew the labels of: its log."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from attnpo.errors import DataError
from attnpo.statistics import Interval

SAMPLED, EXTRA, PASSED = "attnpo/sampled_tokens", "attnpo/extra_tokens", "attnpo/extra_pass_tokens"
PUNISHED, REWARDED = "attnpo/audit/essential_punished", "attnpo/audit/redundant_rewarded"
MASSES = tuple(
    f"{before}/{sign}_{what}"
    for before in ("verdict", "outcome")
    for sign in ("positive", "negative")
    for what in ("removed", "added")
)
"""What is logged of the advantage that a run's credit took away and put on, under `attnpo/mass/`."""


@dataclass(frozen=True)
class RunCost:
    """One training run.

    Attributes:
        steps: optimizer steps that were made.
        responses: responses that were trained on.
        sampled_tokens: all tokens that were sampled; None where the log does not say, as below.
        extra_tokens: those of them that no trained response holds: probes, reference samples.
        extra_pass_tokens: tokens read in forward passes that training would not make anyway.
        essential_punished: share of essential steps whose advantage was negative, mean over the run.
        redundant_rewarded: share of redundant steps whose advantage was positive, mean over the run.
        mass: name of `MASSES` -> share of the advantage before, mean over the run; without those that are not logged.
        log: what was logged, one mapping a step.
    """

    steps: int
    responses: int
    sampled_tokens: float | None = None
    extra_tokens: float | None = None
    extra_pass_tokens: float | None = None
    essential_punished: float | None = None
    redundant_rewarded: float | None = None
    mass: Mapping[str, float] = field(default_factory=dict)
    log: tuple[dict[str, Any], ...] = ()


@dataclass(frozen=True)
class Costs:
    """The runs of a row together: mean, lowest and highest run; None where a log does not say.

    Attributes:
        steps: optimizer steps within the budget.
        sampled_tokens: tokens sampled a run.
        extra_tokens: extra sampled tokens a trained response.
        extra_pass_tokens: tokens of extra forward passes a trained response.
        essential_punished: share of essential steps with a negative advantage.
        redundant_rewarded: share of redundant steps with a positive one.
    """

    steps: Interval
    sampled_tokens: Interval | None
    extra_tokens: Interval | None
    extra_pass_tokens: Interval | None
    essential_punished: Interval | None
    redundant_rewarded: Interval | None


def read_cost(folder: Path, responses: int) -> RunCost:
    """Read a training run's log.

    Args:
        folder: the run's folder, with `log.jsonl`.
        responses: responses an optimizer step.

    Raises:
        DataError: there is no log, or it is malformed.
    """
    path = folder / "log.jsonl"
    try:
        # A run that is still at work may have written half a line.
        text = path.read_text(encoding="utf-8")
        lines = tuple(json.loads(line) for line in text.splitlines(keepends=True) if line.endswith("\n"))
        steps = max((int(line["step"]) for line in lines), default=0)
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror}); copy the cell's whole folder") from error
    except (ValueError, KeyError, TypeError) as error:
        raise DataError(f"{path}: not a training log ({error}); remove the cell's folder and train it again") from error
    return RunCost(
        steps=steps,
        responses=steps * responses,
        sampled_tokens=_last(lines, SAMPLED),
        extra_tokens=_last(lines, EXTRA),
        extra_pass_tokens=_last(lines, PASSED),
        essential_punished=_mean(lines, PUNISHED),
        redundant_rewarded=_mean(lines, REWARDED),
        mass={name: found for name in MASSES if (found := _mean(lines, f"attnpo/mass/{name}")) is not None},
        log=tuple(line for line in lines if "attnpo/accuracy" in line),
    )


def time_of_share(run: RunCost, share: float, budget: float) -> float | None:
    """Return how many tokens a run had sampled once a share of its budget was spent; None where its log ends before."""
    times = (float(line[SAMPLED]) for line in run.log if SAMPLED in line)
    return next((time for time in times if time >= share * budget), None)


def mean_mass(runs: Iterable[RunCost]) -> dict[str, float]:
    """Return name of `MASSES` → mean over runs, of what all of them logged."""
    logged = [run.mass for run in runs]
    return {n: sum(m[n] for m in logged) / len(logged) for n in MASSES if logged and all(n in m for m in logged)}


def pooled_costs(runs: Sequence[RunCost]) -> Costs:
    """Return the runs together: means, with the lowest and the highest run in place of an interval's ends."""

    def mean(read: Callable[[RunCost], float | None]) -> Interval | None:
        return _spanned([(read(run), 1.0) for run in runs])

    def a_response(read: Callable[[RunCost], float | None]) -> Interval | None:
        return _spanned([(read(run), run.responses) for run in runs])

    steps = mean(lambda run: run.steps)
    assert steps is not None
    return Costs(
        steps=steps,
        sampled_tokens=mean(lambda run: run.sampled_tokens),
        extra_tokens=a_response(lambda run: run.extra_tokens),
        extra_pass_tokens=a_response(lambda run: run.extra_pass_tokens),
        essential_punished=mean(lambda run: run.essential_punished),
        redundant_rewarded=mean(lambda run: run.redundant_rewarded),
    )


def _spanned(runs: Sequence[tuple[float | None, float]]) -> Interval | None:
    """Return the ratio of sums with the least and the greatest ratio of a run; None where a run's is not known."""
    known = [(top, bottom) for top, bottom in runs if top is not None and bottom]
    if len(known) < len(runs):
        return None
    ratios = [top / bottom for top, bottom in known]
    tops, bottoms = zip(*known, strict=True)
    return Interval(value=sum(tops) / sum(bottoms), low=min(ratios), high=max(ratios))


def _last(lines: Sequence[dict[str, Any]], key: str) -> float | None:
    return next((float(line[key]) for line in reversed(lines) if key in line), None)


def _mean(lines: Sequence[dict[str, Any]], key: str) -> float | None:
    values = [float(line[key]) for line in lines if key in line]
    return sum(values) / len(values) if values else None
