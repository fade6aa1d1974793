"""Whether one gradient tells beforehand in which order methods come once they are trained."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np

from attnpo.credit import build_method
from attnpo.errors import DataError
from attnpo.gradients import CreditRow, GradientsResult
from attnpo.reporting.reproduction.frontier_table import Curve, FrontierTable, RankCorrelation
from attnpo.reporting.reproduction.table import TrainedRow
from attnpo.significance import DEFINED, Estimate, estimate
from attnpo.statistics import Floats

FORETOLD: Mapping[str, str] = {
    "above_curve": "above TLMRE's curve",
    "signal_to_noise_ratio": "signal/noise, ratio",
    "accuracy_for_noise": "accuracy/√noise",
}
"""Measures of a gradient that curves are ranked by."""
LEAST_CURVES = 4
"""Fewer curves have too few orders to say anything."""


def rank_correlations(table: FrontierTable, gradients: GradientsResult) -> tuple[RankCorrelation, ...]:
    """Return how the order of gradients agrees with that of the trained curves.

    A curve's gradient is the mean over those of its strengths that were differentiated with the very same settings.
    Errors are those of the training runs and held-out problems; those of the gradients are not in them.

    Args:
        table: the trained curves.
        gradients: credits of the same methods.

    Raises:
        DataError: no credit of the gradients is that of a trained row.
    """
    plan = table.plan
    reference = next((curve for curve in table.curves if curve.name == plan.against[0]), None)
    if reference is None:
        return ()
    known = {credit_key(row.method, row.settings): row for row in gradients.rows if row.method}
    matched: dict[str, list[CreditRow]] = {}
    for curve in table.curves:
        credits = [known[key] for row in curve.rows if (key := _row_key(row)) in known]
        if credits and curve is not reference:
            matched[curve.name] = credits
    if not matched:
        raise DataError(
            f"gradients of {gradients.model}: no credit has the method and the settings of a trained row; give "
            "`attnpo gradients --methods` the rows' own (attnpo reproduce --list)"
        )

    def accuracy(curve: Curve) -> Floats | None:
        return curve.draws.accuracy_at(plan.primary) - reference.draws.accuracy_at(plan.primary)

    def time(curve: Curve) -> Floats | None:
        ours, theirs = curve.time_at(plan.primary), reference.time_at(plan.primary)
        return None if ours is None or theirs is None else theirs - ours

    # A curve of one run has no error.
    curves = [curve for curve in table.curves if curve.name in matched and curve.df and reference.df]
    gains = [{curve.name: of(curve) for curve in curves} for of in (accuracy, time)]
    df = min([reference.df, *(curve.df for curve in curves)])
    found = []
    for metric in gradients.rows[0].measures:
        for measure in FORETOLD:
            means = {name: _mean(credits, metric, measure) for name, credits in matched.items()}
            values = {name: mean for name, mean in means.items() if mean is not None}
            both = [_correlation(values, gained, df) for gained in gains]
            found.append(RankCorrelation(measure, metric, tuple(values), *both))
    return tuple(found)


def spearman(first_N: Floats, second_N: Floats) -> float:
    """Return Spearman's rank correlation, ties given their mean rank; NaN where one side is all ties."""
    ranks = []
    for values_N in (first_N, second_N):
        above_NN, equal_NN = values_N[:, None] > values_N, values_N[:, None] == values_N
        ranks.append((above_NN + equal_NN / 2).sum(axis=1) - len(values_N) / 2)
    first_N, second_N = ranks
    size = np.sqrt((first_N @ first_N) * (second_N @ second_N))
    return float(first_N @ second_N / size) if size > 0 else float("nan")


def _correlation(values: Mapping[str, float], gained: Mapping[str, Floats | None], df: int) -> Estimate | None:
    """Return the correlation over the curves whose gain is known; in each resample over those that it defines."""
    draws = {name: d for name in values if (d := gained.get(name)) is not None and _is_known(d)}
    if len(draws) < LEAST_CURVES:
        return None
    foretold_N, trained_ND = np.array([values[name] for name in draws]), np.stack(list(draws.values()))
    found = [spearman(foretold_N[known_N], t_N[known_N]) for t_N in trained_ND.T for known_N in [~np.isnan(t_N)]]
    return estimate(np.array(found), df)


def _is_known(draws: Floats) -> bool:
    return not np.isnan(draws[0]) and bool(np.isnan(draws).mean() <= 1 - DEFINED)


def _mean(rows: Sequence[CreditRow], metric: str, measure: str) -> float | None:
    known = [row.measures[metric][measure].value for row in rows]
    values = [value for value in known if value is not None]
    return float(np.mean(values)) if values else None


def _row_key(row: TrainedRow) -> str | None:
    """Return what tells a row's credit from another's; None where heads or a signal of its own are part of it."""
    about = row.about
    if about.get("heads") not in (None, "chosen") or "signal" in about.get("training", {}):
        return None
    return credit_key(about["method"], about["settings"])


def credit_key(name: str, settings: Mapping[str, Any]) -> str:
    """Return what tells a method with its settings, seed aside, from others, whichever file they were written in."""
    method = build_method(name, settings)
    told = {k: _as_floats(v) for k, v in asdict(method.settings).items() if k != "seed"}
    return json.dumps([method.name, told], sort_keys=True)


def _as_floats(value: Any) -> Any:
    """A setting whose whole numbers are alike whether a command line or a suite's file wrote them."""
    if isinstance(value, (list, tuple)):
        return [_as_floats(each) for each in value]
    return float(value) if isinstance(value, int) and not isinstance(value, bool) else value
