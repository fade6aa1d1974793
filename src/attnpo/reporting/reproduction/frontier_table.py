"""The numbers of a comparison of methods over their strength: at equal length, at equal accuracy, and what it took."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path

import numpy as np

from attnpo.evaluation.comparison import Bootstrap, MeasuredArm, on_common_problems, problem_table, result_file
from attnpo.evaluation.metrics import ratio_cells
from attnpo.evaluation.result import EvaluationResult
from attnpo.evaluation.strength import StrengthCurve, first_time
from attnpo.frontier_plan import FrontierPlan
from attnpo.reporting.reproduction.run_gaps import RunGap, leave_one_out, run_gap, seed_curves, within_bend
from attnpo.reporting.reproduction.table import TrainedRow
from attnpo.significance import Estimate, estimate, estimate_difference, holm
from attnpo.statistics import Floats, ratio_draws, two_level_draws

METRICS = ("response_tokens", "accuracy")
BESIDE = ("accuracy", "response_tokens", "redundant_steps")
"""What a control's differences are told of; what an evaluation lacks is left out."""
BESIDE_RUNS = ("essential_steps", "redundant_steps", "count:slips_mended")
"""What else runs are held against curves of their own seed by: whether equal length and accuracy hide a difference."""
ALPHA = 0.05


@dataclass(frozen=True)
class Curve:
    """One method at its strengths.

    Attributes:
        name: the method.
        group: what it is for.
        rows: its rows, weakest first.
        seeds: training seeds that all of them have.
        draws: accuracy and length on the data and the resamples.
        beside: metric of `BESIDE` → (1 + 2R, K) of each strength.
        control_of: the curve whose strengths it is held against.
        times: row → (1 + 2R,) tokens sampled until the target; NaN where it was not reached.
        by_seed: seed → the curve of its runs alone, on the data and on R resamples of problems.
        beside_by_seed: metric of `BESIDE_RUNS` → the same with it in the place of accuracy.
    """

    name: str
    group: str
    rows: tuple[TrainedRow, ...]
    seeds: tuple[int, ...]
    draws: StrengthCurve
    beside: Mapping[str, Floats]
    control_of: str = ""
    times: Mapping[str, Floats] = field(default_factory=dict)
    by_seed: Mapping[int, StrengthCurve] = field(default_factory=dict)
    beside_by_seed: Mapping[str, Mapping[int, StrengthCurve]] = field(default_factory=dict)

    @property
    def df(self) -> int:
        """Degrees of freedom of its runs; 0 where they cannot be told to differ."""
        return len(self.seeds) - 1

    def time_at(self, tokens: float) -> Floats | None:
        """Return (1 + 2R,) tokens until the target at the strength that ends at a length, between those that were run.

        The fastest strength would be the least of several noisy numbers, the lower the more strengths there are. None
        where no strength was timed. A row without a dial has no strength to choose: its own time.
        """
        if not self.times:
            return None
        if not self.rows[0].curve:
            return self.times[self.rows[0].name]
        unknown = np.full(len(self.draws.tokens_DK), np.nan)
        times_DK = np.stack([self.times.get(row.name, unknown) for row in self.rows], axis=1)
        return self.draws.value_at(times_DK, tokens)


@dataclass(frozen=True)
class CurveTest:
    """A curve against a reference where the plan tests it.

    Attributes:
        difference: its accuracy less the reference's, where the plan tests it; None where either does not reach the
            place, or too few of its runs lie within the reference's ends.
        p: p-value of no difference, Holm-adjusted over the family; None where the curve does not belong to it.
        p_equal: p-value of a difference of the margin or more, adjusted over the curves that are tested for equality;
            None for others.
        in_family: whether it belongs to the family; others are told with their intervals alone.
        within_bend: whether the difference may be what straight lines between the reference's strengths are off by.
    """

    difference: Estimate | None
    p: float | None
    p_equal: float | None
    in_family: bool
    within_bend: bool = False

    @property
    def verdict(self) -> str:
        """What the tests say, in words."""
        if self.difference is None:
            return "not known"
        if self.p is None:
            return "not tested"
        differs = "" if self.p > ALPHA else "more accurate" if self.difference.value > 0 else "less accurate"
        differs += " (not beyond the bend of the curve)" if differs and self.within_bend else ""
        equal = "equal within the margin" if self.p_equal is not None and self.p_equal <= ALPHA else ""
        return ", ".join(filter(None, (differs, equal))) or "open"


@dataclass(frozen=True)
class ControlGap:
    """A control at one strength less the method that it controls at the same."""

    control: str
    method: str
    strength: str
    differences: Mapping[str, Estimate | None]


@dataclass(frozen=True)
class Agreement:
    """How far two orders of curves agree.

    Attributes:
        curves: the curves that have a place in both.
        correlation: Spearman's; None where they are too few.
        p: how often chance alone would bring orders that agree, or disagree, as much: of all orders of the curves.
    """

    curves: tuple[str, ...]
    correlation: Estimate | None
    p: float | None = None


@dataclass(frozen=True)
class RankCorrelation:
    """One measure of gradients beside the trained curves.

    Attributes:
        measure: the measure of the gradients.
        metric: plain or Adam's.
        accuracy: with the accuracy at the primary length less the first reference's.
        time: with the tokens saved until the target, against the same.
    """

    measure: str
    metric: str
    accuracy: Agreement
    time: Agreement


Gaps = Mapping[str, Mapping[float, Estimate | None]]
"""Curve → place → what it has there."""


@dataclass(frozen=True)
class FrontierTable:
    """The comparison.

    Attributes:
        plan: what was to be compared.
        curves: the curves.
        accuracy: accuracy of each curve at the plan's lengths.
        tokens: length of each at the plan's accuracies.
        accuracy_gaps: reference → the same for the other curves less it.
        tokens_gaps: reference → likewise.
        tests: reference → curve → what the plan tests.
        times: curve → tokens sampled until the target, at the strength that ends at the primary length.
        time_gaps: reference → curve → the same less the reference's.
        run_gaps: (curve, other curve) → its runs against the other's curve of their own seed: each curve against the
            references of the plan and against what it controls.
        beside_runs: metric of `BESIDE_RUNS` → the same of it, where both curves have it.
        leave_one_out: reference → its runs against its own other strengths, where it has more than two.
        controls: controls beside what they control.
        level: coverage of the intervals.
        caveats: what to know of the runs.
        ranking: how far gradients told the order of the curves beforehand.
        foretold: metric of the gradients → curve → its measures, in the order of `ranking.FORETOLD`.
    """

    plan: FrontierPlan
    curves: tuple[Curve, ...]
    accuracy: Gaps
    tokens: Gaps
    accuracy_gaps: Mapping[str, Gaps]
    tokens_gaps: Mapping[str, Gaps]
    tests: Mapping[str, Mapping[str, CurveTest]]
    times: Mapping[str, Estimate | None]
    time_gaps: Mapping[str, Mapping[str, Estimate | None]]
    run_gaps: Mapping[tuple[str, str], RunGap]
    beside_runs: Mapping[str, Mapping[tuple[str, str], RunGap]]
    leave_one_out: Mapping[str, RunGap]
    controls: tuple[ControlGap, ...]
    level: float
    caveats: tuple[str, ...] = ()
    ranking: tuple[RankCorrelation, ...] = ()
    foretold: Mapping[str, Mapping[str, tuple[float, ...]]] = field(default_factory=dict)


def frontier_table(
    base: Path,
    rows: Sequence[TrainedRow],
    plan: FrontierPlan,
    family: Sequence[str],
    bootstrap: Bootstrap | None = None,
) -> FrontierTable:
    """Compare curves as a plan says.

    Problems are drawn for all curves alike, training runs for the strengths of a curve alike and for all curves of the
    same seeds (`attnpo.statistics.two_level_draws`). Differences of curves take the runs of both as knowing nothing of
    each other (`attnpo.significance.estimate_difference`); beside them stands each run against the other's curve of its
    own seed (`attnpo.reporting.reproduction.run_gaps`), which a plan tests in their place where it says `by_run`.

    Args:
        base: evaluation folder of the starting model.
        rows: rows with at least one finished run each; those of a curve weakest first.
        plan: where, against what, and what is tested.
        family: curves that are tested together; what of it is not there yet counts as not known.
        bootstrap: how resamples are made.

    Raises:
        DataError: an evaluation is missing or malformed, or models on the way were measured on other problems alone.
    """
    bootstrap = bootstrap or Bootstrap()
    by_curve: dict[str, list[TrainedRow]] = {}
    for row in rows:
        by_curve.setdefault(row.curve or row.name, []).append(row)
    caveats: list[str] = []
    start = _arm("base", [base])
    curves = []
    for name, found in by_curve.items():
        seeds = sorted(set.intersection(*(set(row.folders) for row in found)))
        caveats += _left_out(name, found, seeds)
        if seeds:
            curves.append(_curve(name, found, seeds, start, plan, bootstrap))
    gaps = _Gaps(curves, plan)
    places = {"accuracy": plan.at_tokens, "tokens": plan.at_accuracy}
    reading: dict[str, Callable[[Curve, float], Floats]] = {
        "accuracy": lambda curve, place: curve.draws.accuracy_at(place),
        "tokens": lambda curve, place: curve.draws.tokens_at(place),
    }
    own = {
        kind: {c.name: {p: _known(read(c, p), c.df) for p in places[kind]} for c in curves}
        for kind, read in reading.items()
    }
    beside = {kind: gaps.at(read, places[kind]) for kind, read in reading.items()}
    times = {c.name: c.time_at(plan.primary) for c in curves}
    caveats += _untimed(curves)
    runs = _run_gaps({c.name: c.by_seed for c in curves}, curves, plan)
    bends = {c.name: leave_one_out(c.by_seed) for c in curves if c.name in plan.against and len(c.rows) > 2}
    measured = {name: draws for name, draws in times.items() if draws is not None}
    return FrontierTable(
        plan=plan,
        curves=tuple(curves),
        accuracy=own["accuracy"],
        tokens=own["tokens"],
        accuracy_gaps=beside["accuracy"],
        tokens_gaps=beside["tokens"],
        tests={
            name: _tests(
                {c: runs[c, name].tested if plan.by_run else found[plan.primary] for c, found in gap.items()},
                family,
                name,
                plan,
                bends.get(name) if plan.by_run else None,
            )
            for name, gap in beside["accuracy"].items()
        },
        times={c.name: _known(measured[c.name], c.df) for c in curves if c.name in measured},
        time_gaps={
            name: {curve: found[0.0] for curve, found in gap.items()}
            for name, gap in gaps.at(lambda curve, _: measured[curve.name], (0.0,), set(measured)).items()
        },
        run_gaps=runs,
        beside_runs={
            metric: pairs
            for metric in BESIDE_RUNS
            if (pairs := _run_gaps({c.name: c.beside_by_seed.get(metric, {}) for c in curves}, curves, plan))
        },
        leave_one_out=bends,
        controls=tuple(_control_gaps(curves)),
        level=bootstrap.level,
        caveats=tuple(caveats),
    )


@dataclass(frozen=True)
class _Gaps:
    curves: Sequence[Curve]
    plan: FrontierPlan

    def at(
        self,
        read: Callable[[Curve, float], Floats],
        places: Sequence[float],
        among: set[str] | None = None,
    ) -> dict[str, dict[str, dict[float, Estimate | None]]]:
        """Return reference → other curve → place → the difference of what is read there."""
        known = [c for c in self.curves if among is None or c.name in among]
        found: dict[str, dict[str, dict[float, Estimate | None]]] = {}
        for reference in (c for name in self.plan.against for c in known if c.name == name):
            held = {place: read(reference, place) for place in places}
            found[reference.name] = {
                c.name: {place: _difference(read(c, place), held[place], c, reference) for place in places}
                for c in known
                if c is not reference
            }
        return found


def _curve(
    name: str,
    rows: Sequence[TrainedRow],
    seeds: Sequence[int],
    start: MeasuredArm,
    plan: FrontierPlan,
    bootstrap: Bootstrap,
) -> Curve:
    runs_seed = [bootstrap.seed, 4, *seeds]
    arms = [_arm(row.name, [row.folders[seed] for seed in seeds]) for row in rows]
    held = [m for m in BESIDE if all(m in arm.metrics() for arm in arms)]
    metrics = list(dict.fromkeys((*METRICS, *held)))
    draws_KDM = [_draws(arm, metrics, runs_seed, bootstrap) for arm in arms]
    by_metric = {m: np.stack([draws[:, i] for draws in draws_KDM], axis=1) for i, m in enumerate(metrics)}
    strengths = tuple(row.strength or row.name for row in rows)
    besides = [m for m in BESIDE_RUNS if all(m in arm.metrics() for arm in arms)]
    each_KSDM = [_draws_of_each(arm, (*METRICS, *besides), bootstrap) for arm in arms]
    of_runs = {
        metric: seed_curves(strengths, seeds, [draws_SDM[:, :, [0, place]] for draws_SDM in each_KSDM])
        for place, metric in enumerate(("accuracy", *besides), start=1)
    }
    return Curve(
        name=name,
        group=rows[0].group,
        rows=tuple(rows),
        seeds=tuple(seeds),
        draws=StrengthCurve(strengths, by_metric["response_tokens"], by_metric["accuracy"]),
        beside={m: by_metric[m] for m in held},
        control_of=rows[0].control_of,
        times={
            row.name: found
            for row, arm in zip(rows, arms, strict=True)
            if (found := _times(row, arm, seeds, start, plan, runs_seed, bootstrap)) is not None
        },
        by_seed=of_runs["accuracy"],
        beside_by_seed={metric: of_runs[metric] for metric in besides},
    )


def _times(
    row: TrainedRow,
    arm: MeasuredArm,
    seeds: Sequence[int],
    start: MeasuredArm,
    plan: FrontierPlan,
    runs_seed: Sequence[int],
    bootstrap: Bootstrap,
) -> Floats | None:
    """Return (1 + 2R,) tokens sampled until the target; None where no models on the way were measured.

    None, too, where a single step spent more than a model's share of the tokens: there is no way to be timed then.
    """
    courses = [row.course.get(seed, ()) for seed in seeds]
    sampled = [row.costs[seed].sampled_tokens for seed in seeds]
    if plan.target is None or not all(courses) or None in sampled:
        return None
    parts = [_arm(row.name, [point.folder for point in points]) for points in zip(*courses, strict=True)]
    first, *later, last = on_common_problems([start, *parts, arm])
    times = [0.0, *(float(np.mean([p.sampled for p in points])) for points in zip(*courses, strict=True))]
    times.append(float(np.mean([tokens for tokens in sampled if tokens is not None])))
    if any(b <= a for a, b in pairwise(times)):
        return None
    draws_TDM = np.stack([_draws(each, METRICS, runs_seed, bootstrap) for each in (first, *later, last)])
    target, at = plan.target, np.array(times)
    return np.array(
        [first_time(at, d[:, 0], d[:, 1], target.tokens, target.accuracy) for d in draws_TDM.transpose(1, 0, 2)]
    )


def _draws(arm: MeasuredArm, metrics: Sequence[str], runs_seed: Sequence[int], bootstrap: Bootstrap) -> Floats:
    runs = [ratio_cells(run, metrics) for run in arm.runs]
    return two_level_draws(runs, bootstrap.n_resamples, bootstrap.seed, runs_seed)


def _draws_of_each(arm: MeasuredArm, metrics: Sequence[str], bootstrap: Bootstrap) -> Floats:
    """Return (S runs, 1 + R, M): each run on the data and on R resamples of problems."""
    cells = np.concatenate([ratio_cells(run, metrics) for run in arm.runs])
    draws = ratio_draws([cells], bootstrap.n_resamples, bootstrap.seed)
    return draws.reshape(len(draws), len(arm.runs), len(metrics)).transpose(1, 0, 2)


def _arm(name: str, folders: Sequence[Path]) -> MeasuredArm:
    files = [result_file(folder) for folder in folders]
    return MeasuredArm(name, tuple(problem_table(EvaluationResult.load(file), file) for file in files))


def _known(draws: Floats, df: int) -> Estimate | None:
    return estimate(draws, df) if df > 0 else None


def _difference(ours: Floats, theirs: Floats, curve: Curve, reference: Curve) -> Estimate | None:
    if not curve.df or not reference.df:
        return None
    return estimate_difference(ours, theirs, curve.df, reference.df)


def _run_gaps(
    by_seed: Mapping[str, Mapping[int, StrengthCurve]], curves: Sequence[Curve], plan: FrontierPlan
) -> dict[tuple[str, str], RunGap]:
    """Return the gaps of curves given as seed → the curve of its runs; those without any are left out."""
    return {
        (curve.name, name): run_gap(by_seed[curve.name], by_seed[name])
        for curve in curves
        for name in dict.fromkeys((*plan.against, curve.control_of))
        if by_seed[curve.name] and by_seed.get(name) and name != curve.name
    }


def _tests(
    differences: Mapping[str, Estimate | None],
    family: Sequence[str],
    reference: str,
    plan: FrontierPlan,
    bend: RunGap | None = None,
) -> dict[str, CurveTest]:
    def values(of: Callable[[Estimate], float], among: Sequence[str]) -> dict[str, float | None]:
        raw = {name: None if found is None else of(found) for name, found in differences.items()}
        asked = {name: raw.get(name) for name in among if name != reference}
        adjusted: dict[str, float] = holm(asked)
        return {name: None if p is None else adjusted.get(name) for name, p in raw.items()}

    differs = values(lambda found: found.p_differs(), family)
    equal = values(lambda found: found.p_equivalent(plan.margin), plan.equal or family)
    return {
        name: CurveTest(found, differs[name], equal[name], name in family, within_bend(found, bend))
        for name, found in differences.items()
    }


def _control_gaps(curves: Sequence[Curve]) -> list[ControlGap]:
    by_name = {curve.name: curve for curve in curves}
    found = []
    for control in curves:
        method = by_name.get(control.control_of)
        for k, strength in enumerate(control.draws.strengths if method is not None else ()):
            if method is None or strength not in method.draws.strengths:
                continue
            place = method.draws.strengths.index(strength)
            differences = {
                metric: _difference(draws[:, k], method.beside[metric][:, place], control, method)
                for metric, draws in control.beside.items()
                if metric in method.beside
            }
            found.append(ControlGap(control.name, method.name, strength, differences))
    return found


def _untimed(curves: Sequence[Curve]) -> list[str]:
    """Return sentences on strengths without a time, where others have one."""
    said = []
    for curve in curves if any(curve.times for curve in curves) else []:
        for names, why in (
            ([r.name for r in curve.rows if r.name not in curve.times], "no models on the way at every seed"),
            ([name for name, draws in curve.times.items() if np.isnan(draws[0])], "never as short and right as asked"),
        ):
            if names:
                said.append(f"{curve.name}: no time until the target for {', '.join(names)}: {why}.")
    return said


def _left_out(name: str, rows: Sequence[TrainedRow], seeds: Sequence[int]) -> list[str]:
    """Return a sentence where strengths of a curve have other seeds, which its curve then lacks."""
    more = sorted({seed for row in rows for seed in row.folders} - set(seeds))
    if not more:
        return []
    said = f"seeds {', '.join(map(str, more))} are not there at every strength and left out of its curve"
    return [f"{name}: {said}." if seeds else f"{name}: no seed is there at every strength, so it has no curve."]
