"""What is known of every credit, as `gradients.json` holds it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from pydantic import BaseModel

from attnpo.documents import Document
from attnpo.gradients import measures
from attnpo.gradients.credits import ACCURACY, ESSENTIAL_TOKENS, LENGTH, LENGTH_TERM, REDUNDANT_TOKENS, Credit
from attnpo.gradients.products import Moments, jackknife
from attnpo.significance import Estimate
from attnpo.statistics import Floats
from attnpo.tables import NOTHING


class Known(BaseModel):
    """A value with its standard error and the error's degrees of freedom; None where the batches do not show it."""

    value: float | None
    error: float | None
    df: int | None = None

    @classmethod
    def of(cls, estimate: Estimate | None) -> Known:
        """Return an estimate as JSON holds it."""
        if estimate is None:
            return cls(value=None, error=None)
        return cls(value=estimate.value, error=estimate.error, df=estimate.df)

    @property
    def estimate(self) -> Estimate | None:
        """The value with its error; None where either is not known."""
        if self.value is None or self.error is None or self.df is None:
            return None
        return Estimate(self.value, self.error, self.df)

    def said(self, digits: int) -> str:
        """Return `0.339 ±0.032`; three significant digits where it is too large or small for `digits` decimals."""
        if self.value is None:
            return NOTHING
        write = f".{digits}f" if self.value == 0 or 10.0**-digits <= abs(self.value) < 10_000 else ".3g"
        return f"{self.value:{write}}" + ("" if self.error is None else f" ±{self.error:{write}}")


class CreditRow(BaseModel):
    """One credit.

    Attributes:
        name: its name.
        family: the curve that it is a point of.
        strength: its place on the curve.
        beside: the credit whose signal to noise `signal_to_noise_ratio` is against; empty for none.
        method: the method whose credit it is; empty where it is no method's.
        settings: those of its settings that differ from the published ones.
        signal: the step signal in place of the method's own; None for that.
        measures: metric → measure → what is known.
        cosines: metric → credit → cosine of the mean gradients.
    """

    name: str
    family: str
    strength: float | None
    beside: str
    method: str = ""
    settings: dict[str, Any] = {}
    signal: str | None = None
    measures: dict[str, dict[str, Known]]
    cosines: dict[str, dict[str, Known]]


class RedundancyBin(BaseModel):
    """The problems whose responses are redundant to a like extent.

    Attributes:
        low: least redundant share of a problem's think tokens.
        high: the greatest.
        share: redundant share of all think tokens.
        problems: how many problems.
        accuracy: share of correct responses.
        tokens: mean tokens of a response.
        measures: metric → credit → measure → what is known, of batches all of whose problems are of the bin.
    """

    low: float
    high: float
    share: float
    problems: int
    accuracy: float
    tokens: float
    measures: dict[str, dict[str, dict[str, Known]]]


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
        adam_epsilon: epsilon of Adam's metric, as a share of the root mean square of the gradient that it is of; 0 in
            files made before it had one.
        heads: the heads whose scores were read.
        progress_step: optimizer step that credit was given at.
        rows: the credits.
        left_out: method → why it gives no credit to these responses.
        redundancy_bins: the same noise by the redundant share of a problem's responses, least redundant first; empty
            where that was not asked for.
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
    adam_epsilon: float = 0.0
    heads: list[tuple[int, int]]
    progress_step: int
    rows: list[CreditRow]
    left_out: dict[str, str]
    redundancy_bins: Sequence[RedundancyBin] = ()

    def row(self, name: str) -> CreditRow:
        """Return a credit by its name."""
        return next(row for row in self.rows if row.name == name)


def credit_rows(moments: Mapping[str, Moments], credits: Sequence[Credit]) -> list[CreditRow]:
    """Return what is known of every credit.

    Args:
        moments: metric → moments of the credits.
        credits: in the order of the moments; those of `wanted_credits` among them.
    """
    return [
        CreditRow(
            name=credit.name,
            family=credit.family,
            strength=credit.strength,
            beside=credit.beside,
            method=credit.method,
            settings=dict(credit.settings),
            signal=credit.signal,
            measures={metric: _measured(found, place, credits) for metric, found in moments.items()},
            cosines={
                metric: {other.name: _known(measures.cosine(found, place, n), found) for n, other in enumerate(credits)}
                for metric, found in moments.items()
            },
        )
        for place, credit in enumerate(credits)
    ]


def _measured(moments: Moments, place: int, credits: Sequence[Credit]) -> dict[str, Known]:
    at = {credit.name: number for number, credit in enumerate(credits)}
    accuracy, saved, term = at[ACCURACY], at[LENGTH], at[LENGTH_TERM]
    signal_S = measures.signal_to_noise(moments, place)
    point = measures.CurvePoint.of(moments, place, accuracy, saved, term)
    found = {
        "length": measures.length(moments, place),
        "accuracy": measures.unit_change(moments, place, accuracy),
        "tokens_saved": measures.unit_change(moments, place, saved),
        "accuracy_per_100_tokens_saved": 100 * measures.ratio(moments, place, accuracy, saved),
        "outside": measures.outside(moments, place, [accuracy, term]),
        "above_curve": measures.above_curve(moments, place, point),
        "noise": measures.noise(moments, place),
        "signal_to_noise": signal_S,
        "signal_to_noise_beside_curve": measures.signal_to_noise_beside(moments, place, point),
        "accuracy_for_noise": measures.bought(moments, place, accuracy),
        "accuracy_for_noise_above_curve": measures.bought_above(moments, place, point),
        "tokens_for_noise": measures.bought(moments, place, saved),
        "curve_strength": point.strength_S,
    }
    if beside := credits[place].beside:
        beside_S = measures.signal_to_noise(moments, at[beside])
        found["signal_to_noise_ratio"] = measures.over(moments, signal_S, beside_S)
    for name, credit in (("redundant", REDUNDANT_TOKENS), ("essential", ESSENTIAL_TOKENS)):
        if credit in at:
            found[f"{name}_saved"] = measures.unit_change(moments, place, at[credit])
            found[f"{name}_per_token_saved"] = measures.ratio(moments, place, at[credit], saved)
    return {name: _known(values_S, moments) for name, values_S in found.items()}


def _known(values_S: Floats, moments: Moments) -> Known:
    return Known.of(jackknife(values_S, moments.parts))
