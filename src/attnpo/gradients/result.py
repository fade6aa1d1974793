"""What is known of every credit, as `gradients.json` holds it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import ClassVar

from pydantic import BaseModel

from attnpo.documents import Document
from attnpo.gradients import measures
from attnpo.gradients.credits import ACCURACY, ESSENTIAL_TOKENS, LENGTH, LENGTH_TERM, REDUNDANT_TOKENS, Credit
from attnpo.gradients.products import Estimate, Floats, Moments, Products, jackknife


class Known(BaseModel):
    """A value with its standard error; None where the batches do not show it."""

    value: float | None
    error: float | None

    @classmethod
    def of(cls, estimate: Estimate) -> Known:
        """Return an estimate as JSON holds it."""
        value, error = estimate.value, estimate.error
        if not math.isfinite(value):
            return cls(value=None, error=None)
        return cls(value=value, error=error if math.isfinite(error) else None)


class CreditRow(BaseModel):
    """One credit.

    Attributes:
        name: its name.
        family: the curve that it is a point of.
        strength: its place on the curve.
        beside: the credit whose signal to noise `signal_to_noise_ratio` is against.
        measures: metric → measure → what is known.
        cosines: metric → credit → cosine of the mean gradients.
    """

    name: str
    family: str
    strength: float | None
    beside: str
    measures: dict[str, dict[str, Known]]
    cosines: dict[str, dict[str, Known]]


class GradientsResult(Document):
    """Every credit on the same responses.

    Attributes:
        model: the model.
        source: where the responses come from.
        batches: how many batches.
        problems_per_batch: problems of each.
        group_size: responses to each problem.
        accuracy: share of correct responses.
        tokens: mean tokens of a response.
        parameters: how many parameters gradients are by.
        sketch: numbers that each was sketched to; None where it was kept whole.
        heads: the heads whose scores were read.
        progress_step: optimizer step that credit was given at.
        rows: the credits.
        left_out: method → why it gives no credit to these responses.
    """

    MAKE: ClassVar[str] = "make it with `attnpo gradients`"
    MEND: ClassVar[str] = "make it again with `attnpo gradients`"

    model: str
    source: str
    batches: int
    problems_per_batch: int
    group_size: int
    accuracy: float
    tokens: float
    parameters: int
    sketch: int | None
    heads: list[tuple[int, int]]
    progress_step: int
    rows: list[CreditRow]
    left_out: dict[str, str]

    def row(self, name: str) -> CreditRow:
        """Return a credit by its name."""
        return next(row for row in self.rows if row.name == name)


def credit_rows(products: Mapping[str, Products], credits: Sequence[Credit]) -> list[CreditRow]:
    """Return what is known of every credit.

    Args:
        products: metric → inner products of the credits.
        credits: in the order of the products; those of `wanted_credits` among them.
    """
    moments = {metric: found.moments() for metric, found in products.items()}
    return [
        CreditRow(
            name=credit.name,
            family=credit.family,
            strength=credit.strength,
            beside=credit.beside,
            measures={metric: _measured(found, place, credits) for metric, found in moments.items()},
            cosines={
                metric: {other.name: _known(measures.cosine(found, place, n)) for n, other in enumerate(credits)}
                for metric, found in moments.items()
            },
        )
        for place, credit in enumerate(credits)
    ]


def _measured(moments: Moments, place: int, credits: Sequence[Credit]) -> dict[str, Known]:
    at = {credit.name: number for number, credit in enumerate(credits)}
    accuracy, saved, term = at[ACCURACY], at[LENGTH], at[LENGTH_TERM]
    beside_S = measures.signal_to_noise(moments, at[credits[place].beside])
    signal_S = measures.signal_to_noise(moments, place)
    found = {
        "length": measures.length(moments, place),
        "accuracy": measures.unit_change(moments, place, accuracy),
        "tokens_saved": measures.unit_change(moments, place, saved),
        "accuracy_per_100_tokens_saved": 100 * measures.ratio(moments, place, accuracy, saved),
        "outside": measures.outside(moments, place, [accuracy, term]),
        "above_curve": measures.above_curve(moments, place, accuracy, saved, term),
        "noise": measures.noise(moments, place),
        "signal_to_noise": signal_S,
        "signal_to_noise_ratio": measures.divided(signal_S, beside_S),
        "accuracy_for_noise": measures.bought(moments, place, accuracy),
        "tokens_for_noise": measures.bought(moments, place, saved),
    }
    for name, credit in (("redundant", REDUNDANT_TOKENS), ("essential", ESSENTIAL_TOKENS)):
        if credit in at:
            found[f"{name}_saved"] = measures.unit_change(moments, place, at[credit])
            found[f"{name}_per_token_saved"] = measures.ratio(moments, place, at[credit], saved)
    return {name: _known(values_S) for name, values_S in found.items()}


def _known(values_S: Floats) -> Known:
    return Known.of(jackknife(values_S))
