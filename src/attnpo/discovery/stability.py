"""Do the heads keep their meaning while the model changes? A fixed probe set, scored with one checkpoint after another.

The probe set is labelled responses of the model that training starts from; its token ids never change, only the model
that reads them does. Two numbers a checkpoint: the SRA of the heads, and the Pearson correlation of the step scores
with those at the start (AttnPO, Key-Focus Heads).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.progress import Progress

from attnpo.attention import Head, HeadSet
from attnpo.discovery.evidence import HeadStability, StabilityPoint, StabilityResult
from attnpo.discovery.halves import selecting_problems
from attnpo.discovery.measure import Scores, ensemble, labelled_pairs
from attnpo.discovery.ranking import ranked_intervals, sra
from attnpo.discovery.selection import choose, ensemble_sra, greedy_selection
from attnpo.ranges import OpenShare, Resamples, Seed, check_settings
from attnpo.rollouts import Rollout
from attnpo.signals import score_steps
from attnpo.statistics import Floats, Interval, bootstrap_interval

_CHECKPOINT = re.compile(r"checkpoint-(\d+)/?$")


@dataclass(frozen=True)
class Intervals:
    """How intervals are made: coverage, bootstrap resamples, their seed."""

    level: OpenShare = 0.95
    resamples: Resamples = 2000
    seed: Seed = 0

    def __post_init__(self) -> None:
        check_settings(self)


def measure_stability(
    models: Iterable[tuple[str, Any]],
    tokenizer: Any,
    rollouts: Sequence[Rollout],
    heads: HeadSet,
    *,
    min_sra: float | None = None,
    min_pearson: float | None = None,
    batch_size: int = 16,
    intervals: Intervals | None = None,
    progress: Progress | None = None,
) -> StabilityResult:
    """Compare checkpoints after the fact.

    Args:
        models: name and model of each checkpoint; the first is the start. A generator that loads them one after the
            other keeps one in memory at a time.
        tokenizer: renders the prompts; the same for all.
        rollouts: the probe set: labelled responses.
        heads: the head set.
        min_sra: bound under which a warning is given, None for none.
        min_pearson: the same for the correlation.
        batch_size: responses a forward pass.
        intervals: how intervals are made.
        progress: display, or None.

    Raises:
        HeadSetError: the heads do not fit a model.
        DataError: the probe set has no pair of an essential and a redundant step.
    """
    points: list[StabilityPoint] = []
    start: list[NDArray[np.float32]] | None = None
    for name, model in models:
        heads.validate_for(model.config, name)
        found = score_steps(
            model,
            tokenizer,
            rollouts,
            heads.heads,
            batch_size=batch_size,
            progress=progress,
            description=f"scoring {Path(name).name}",
        )
        start = found if start is None else start
        step = _CHECKPOINT.search(name)
        points.append(
            stability_point(
                rollouts,
                found,
                start,
                heads.heads,
                name=name,
                step=int(step[1]) if step else None,
                intervals=intervals,
            )
        )
    return StabilityResult(
        model=points[0].name if points else "",
        heads=[(head.layer, head.head) for head in heads.heads],
        points=points,
        min_sra=min_sra,
        min_pearson=min_pearson,
        warnings=crossings(points, min_sra, min_pearson),
        num_responses=len(rollouts),
        num_steps=sum(len(rollout.steps) for rollout in rollouts),
    )


def stability_point(
    rollouts: Sequence[Rollout],
    scores: Scores,
    start: Scores,
    heads: Sequence[Head],
    *,
    name: str,
    step: int | None = None,
    intervals: Intervals | None = None,
) -> StabilityPoint:
    """Measure one checkpoint.

    Args:
        rollouts: the probe set: labelled responses.
        scores: per response (K steps, N heads) as this checkpoint reads them.
        start: the same as the start read them.
        heads: the N heads.
        name: name of the checkpoint.
        step: optimizer steps it has taken.
        intervals: how intervals are made.

    Raises:
        DataError: the probe set has no pair of an essential and a redundant step.
    """
    how = intervals or Intervals()
    pairs = labelled_pairs(rollouts, scores)
    columns = list(range(len(heads)))
    every, matched = ranked_intervals(pairs, pairs.ensemble(columns), how.level, how.resamples, how.seed)
    now_K, start_K = ensemble(scores, columns), ensemble(start, columns)
    own_N = sra(pairs.differences_MN)
    return StabilityPoint(
        step=step,
        name=name,
        sra=every,
        sra_length_matched=matched,
        pearson=pearson(rollouts, now_K, start_K, intervals=how),
        pearson_within=pearson(rollouts, now_K, start_K, within=True, intervals=how),
        per_head=[
            HeadStability(
                head=(head.layer, head.head),
                sra=float(own_N[n]),
                pearson=_correlation(*_series(rollouts, ensemble(scores, [n]), ensemble(start, [n]))[:2]),
            )
            for n, head in enumerate(heads)
        ],
        heads=[(head.layer, head.head) for head in heads],
    )


def pearson(
    rollouts: Sequence[Rollout],
    scores: Sequence[NDArray[np.floating]],
    start: Sequence[NDArray[np.floating]],
    *,
    within: bool = False,
    intervals: Intervals | None = None,
) -> Interval:
    """Return Pearson's correlation of two scores over all steps that own a token, with its interval over problems.

    Where one of the two does not vary the correlation has no value: it counts as 1 where both are the same, else as 0.

    Args:
        rollouts: the responses.
        scores: per response (K,).
        start: the same, to correlate with.
        within: take each response's mean off first, on both sides.
        intervals: how the interval is made.
    """
    how = intervals or Intervals()
    x_S, y_S, problem_S = _series(rollouts, scores, start, within)
    moments_S6 = np.stack([np.ones_like(x_S), x_S, y_S, x_S * x_S, y_S * y_S, x_S * y_S], axis=1)
    moments_C6 = np.zeros((int(problem_S.max(initial=-1)) + 1, 6))
    np.add.at(moments_C6, problem_S, moments_S6)
    value = _correlation(x_S, y_S)
    if not _varies(x_S) or not _varies(y_S):
        return Interval(value=value, low=value, high=value)
    found = bootstrap_interval(
        lambda weights_RC: _from_moments(weights_RC @ moments_C6), len(moments_C6), how.level, how.resamples, how.seed
    )
    return found.model_copy(update={"value": value})


def crossings(points: Sequence[StabilityPoint], min_sra: float | None, min_pearson: float | None) -> list[str]:
    """Return one line for each time a number falls under its bound; it must have risen again before the next."""
    lines = []
    for label, bound, values in (
        ("SRA", min_sra, [point.sra.value for point in points]),
        ("correlation with the start", min_pearson, [point.pearson.value for point in points]),
    ):
        if bound is None:
            continue
        under = False
        for place, value in enumerate(values):
            if value < bound and not under:
                lines.append((place, f"{points[place].name}: {label} {value:.3f} is under {bound:g}"))
            under = value < bound
    return [line for _, line in sorted(lines)]


@dataclass(frozen=True)
class NewHeads:
    """Heads chosen anew.

    Attributes:
        columns: the columns chosen; those in force where nothing better was found.
        sra_old: SRA of the heads in force on the part of the probe set that was not chosen on.
        sra_new: SRA of the new choice there.
    """

    columns: tuple[int, ...]
    sra_old: float
    sra_new: float


def select_again(
    rollouts: Sequence[Rollout], scores: Scores, current: Sequence[int], *, num_heads: int, seed: int = 0
) -> NewHeads:
    """Choose heads on one half of the probe set's problems (greedy, as discovery does) and prove them on the other.

    Args:
        rollouts: the probe set, problems of at least two ids.
        scores: per response (K steps, N heads), every head that can be read.
        current: columns of the heads in force.
        num_heads: most heads to choose.
        seed: seed of the halves.

    Raises:
        DataError: a half has no pair of an essential and a redundant step.
    """
    selecting = selecting_problems((rollout.problem_id for rollout in rollouts), seed=seed)
    halves = [
        [i for i, rollout in enumerate(rollouts) if (rollout.problem_id in selecting) == chosen]
        for chosen in (True, False)
    ]
    select, report = (labelled_pairs([rollouts[i] for i in half], [scores[i] for i in half]) for half in halves)
    found = choose(greedy_selection(select, num_heads), num_heads)
    old, new = ensemble_sra(report, current), ensemble_sra(report, found.heads)
    return NewHeads(found.heads if new > old else tuple(current), old, new)


def _series(
    rollouts: Sequence[Rollout],
    scores: Sequence[NDArray[np.floating]],
    start: Sequence[NDArray[np.floating]],
    within: bool = False,
) -> tuple[Floats, Floats, NDArray[np.int64]]:
    """Both scores of every step that owns a token, centred, and the problem it comes from."""
    places: dict[str, int] = {}
    xs, ys, problems = [], [], []
    for rollout, now_K, then_K in zip(rollouts, scores, start, strict=True):
        owned = [k for k, step in enumerate(rollout.steps) if step.tokens[1] > step.tokens[0]]
        x, y = (np.asarray(values_K, dtype=np.float64)[owned] for values_K in (now_K, then_K))
        if within and owned:
            x, y = x - x.mean(), y - y.mean()
        xs.append(x)
        ys.append(y)
        problems.append(np.full(len(owned), places.setdefault(rollout.problem_id, len(places))))
    x_S, y_S = np.concatenate(xs), np.concatenate(ys)
    if len(x_S):
        # A shift changes no correlation, and keeps the sums of squares from cancelling.
        x_S, y_S = x_S - x_S.mean(), y_S - y_S.mean()
    return x_S, y_S, np.concatenate(problems)


def _varies(x_S: Floats) -> bool:
    return len(x_S) > 1 and float(np.ptp(x_S)) > 0


def _correlation(x_S: Floats, y_S: Floats) -> float:
    if not _varies(x_S) or not _varies(y_S):
        return float(np.array_equal(x_S, y_S))
    moments_6 = np.array([len(x_S), x_S.sum(), y_S.sum(), x_S @ x_S, y_S @ y_S, x_S @ y_S])
    return float(_from_moments(moments_6[None])[0])


def _from_moments(moments_R6: Floats) -> Floats:
    """Pearson's r from count, sums, sums of squares and of products; NaN where one side does not vary."""
    n, x, y, xx, yy, xy = moments_R6.T
    with np.errstate(invalid="ignore", divide="ignore"):
        spread = np.sqrt((n * xx - x * x).clip(min=0) * (n * yy - y * y).clip(min=0))
        return np.clip(np.where(spread > 0, (n * xy - x * y) / spread, np.nan), -1.0, 1.0)
