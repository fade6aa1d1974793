"""Whether one gradient tells beforehand in which order methods come once they are trained."""

from __future__ import annotations

import itertools
import json
import math
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import asdict, replace
from typing import Any

import numpy as np

from attnpo.credit import build_method
from attnpo.errors import ConfigError
from attnpo.gradients import CreditRow, GradientsResult
from attnpo.gradients.placing import Point, placed
from attnpo.reporting.reproduction.frontier_table import Agreement, Curve, FrontierTable, RankCorrelation
from attnpo.significance import DEFINED, estimate
from attnpo.statistics import Floats

FORETOLD: Mapping[str, str] = {
    "above_curve": "above TLMRE's curve",
    "signal_to_noise_beside_curve": "signal/noise over TLMRE's",
    "accuracy_for_noise_above_curve": "accuracy/√noise above TLMRE's",
}
"""Measures of a gradient that curves are ranked by: each against TLMRE where a unit step saves as many tokens."""
MOST_ORDERED = 8
"""More curves have too many orders to go through; as many as of 8 are drawn."""
LEAST_CURVES = 4
"""Fewer curves have too few orders to say anything."""


def ranked(table: FrontierTable, gradients: GradientsResult) -> FrontierTable:
    """Return the table with how far the order of gradients agrees with that of the trained curves.

    A curve's gradient is that of the strengths that were differentiated with the very same settings, read where all
    curves save as many tokens (`placed`); what is left out is a caveat. Errors are those of the training runs and
    held-out problems; those of the gradients are not in them.

    Args:
        table: the trained curves.
        gradients: credits of the same methods.
    """
    plan = table.plan
    reference = next((curve for curve in table.curves if curve.name == plan.against[0]), None)
    if reference is None:
        return _without(table, f"{plan.against[0]}, which curves are held against, has none yet")
    matched: dict[str, list[CreditRow]] = {}
    lacking_said = []
    for curve in table.curves:
        found = matching_credits([row.about for row in curve.rows], gradients)
        credits = [credit for credit in found if credit is not None]
        if curve is reference or not credits:
            continue
        matched[curve.name] = credits
        if lacking := [row.name for row, credit in zip(curve.rows, found, strict=True) if credit is None]:
            lacking_said.append(f"{curve.name}: no gradient has the settings of {', '.join(lacking)}.")
    if not matched:
        return _without(table, "no curve that is there yet has a gradient")

    def accuracy(curve: Curve) -> Floats | None:
        return curve.draws.accuracy_at(plan.primary) - reference.draws.accuracy_at(plan.primary)

    def time(curve: Curve) -> Floats | None:
        ours, theirs = curve.time_at(plan.primary), reference.time_at(plan.primary)
        return None if ours is None or theirs is None else theirs - ours

    # A curve of one run has no error.
    curves = [curve for curve in table.curves if curve.name in matched and curve.df and reference.df]
    gains = [{c.name: d for c in curves if (d := of(c)) is not None and _is_known(d)} for of in (accuracy, time)]
    df = min([reference.df, *(curve.df for curve in curves)])
    ranking, caveats, foretold = [], [], {}
    dialless = {curve.name for curve in table.curves if not curve.rows[0].curve}
    for metric in gradients.rows[0].measures:
        read = placed({name: [_point(each, metric) for each in credits] for name, credits in matched.items()}, dialless)
        caveats += [f"Gradients, {metric}: {sentence}" for sentence in read.said()]
        foretold[metric] = read.values
        for number, measure in enumerate(FORETOLD):
            values = {name: own[number] for name, own in read.values.items()}
            ranking.append(RankCorrelation(measure, metric, *(_agreement(values, gained, df) for gained in gains)))
    said = (*table.caveats, *caveats, *lacking_said)
    return replace(table, ranking=tuple(ranking), foretold=foretold, caveats=said)


def _without(table: FrontierTable, why: str) -> FrontierTable:
    return replace(table, caveats=(*table.caveats, f"Gradients are not held against the curves: {why}."))


def matching_credits(abouts: Iterable[Mapping[str, Any]], gradients: GradientsResult) -> list[CreditRow | None]:
    """Return for each row, by what `TrainedRow.about` says of it, the credit of its method, settings and signal.

    None where there is none, or where heads of its own are part of the row's credit. Credits of methods that are not
    here, as of a module that cannot be imported, match nothing.
    """
    known = {}
    for row in gradients.rows:
        if row.method:
            with suppress(ConfigError):
                known[credit_key(row.method, row.settings, row.signal)] = row
    return [
        None
        if about.get("heads") not in (None, "chosen")
        else known.get(credit_key(about["method"], about["settings"], about.get("training", {}).get("signal")))
        for about in abouts
    ]


def spearman(first_N: Floats, second_N: Floats) -> float:
    """Return Spearman's rank correlation, ties given their mean rank; NaN where one side is all ties."""
    first_N, second_N = (_centred_ranks(values_N) for values_N in (first_N, second_N))
    size = np.sqrt((first_N @ first_N) * (second_N @ second_N))
    return float(first_N @ second_N / size) if size > 0 else float("nan")


def _centred_ranks(values_N: Floats) -> Floats:
    above_NN, equal_NN = values_N[:, None] > values_N, values_N[:, None] == values_N
    ranks_N: Floats = (above_NN + equal_NN / 2).sum(axis=1) - len(values_N) / 2
    return ranks_N


def _agreement(values: Mapping[str, float], gained: Mapping[str, Floats], df: int) -> Agreement:
    """Return the correlation over the curves whose gain is known; in each resample over those that it defines."""
    curves = tuple(name for name in values if name in gained)
    if len(curves) < LEAST_CURVES:
        return Agreement(curves, None)
    foretold_N, trained_ND = np.array([values[name] for name in curves]), np.stack([gained[name] for name in curves])
    found = [spearman(foretold_N[known_N], t_N[known_N]) for t_N in trained_ND.T for known_N in [~np.isnan(t_N)]]
    return Agreement(curves, estimate(np.array(found), df), chance(foretold_N, trained_ND[:, 0]))


def chance(first_N: Floats, second_N: Floats) -> float | None:
    """Return the two-sided p-value of Spearman's correlation: the share of orders of one side that give as much.

    Of up to `MOST_ORDERED` values all orders, of more as many drawn ones (seeded). None where one side is all ties.
    """
    count = len(first_N)
    if count <= MOST_ORDERED:
        orders = np.array(list(itertools.permutations(range(count))))
    else:
        drawn = np.random.default_rng(0).permuted(np.tile(np.arange(count), (math.factorial(MOST_ORDERED), 1)), axis=1)
        orders = np.concatenate([np.arange(count)[None], drawn])
    first_N, second_N = (_centred_ranks(values_N) for values_N in (first_N, second_N))
    agree_P = np.abs(second_N[orders] @ first_N)
    return None if not (first_N.any() and second_N.any()) else float((agree_P >= agree_P[0] - 1e-9).mean())


def _is_known(draws: Floats) -> bool:
    return not np.isnan(draws[0]) and bool(np.isnan(draws).mean() <= 1 - DEFINED)


def _point(credit: CreditRow, metric: str) -> Point:
    known = {name: own.value for name, own in credit.measures[metric].items()}
    values = tuple(value for name in FORETOLD if (value := known.get(name)) is not None)
    return Point(credit.name, known.get("tokens_saved"), values if len(values) == len(FORETOLD) else None)


def credit_key(name: str, settings: Mapping[str, Any], signal: str | None = None) -> str:
    """Return what tells a method with its settings and step signal, seed aside, from others of whatever file."""
    method = build_method(name, settings)
    told = {k: _as_floats(v) for k, v in asdict(method.settings).items() if k != "seed"}
    return json.dumps([method.name, told, method.reads(signal)], sort_keys=True)


def _as_floats(value: Any) -> Any:
    """A setting whose whole numbers are alike whether a command line or a suite's file wrote them."""
    if isinstance(value, (list, tuple)):
        return [_as_floats(each) for each in value]
    return float(value) if isinstance(value, int) and not isinstance(value, bool) else value
