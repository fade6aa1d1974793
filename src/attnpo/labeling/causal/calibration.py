"""From which effect on is a step essential? Found from the effects alone, without a label.

Effects of dispensable steps scatter around zero, those of needed steps reach over several orders of magnitude, so raw
effects do not fall into two groups. They do on the scale asinh(effect / noise): linear within the noise, logarithmic
beyond. The noise is read off the negative effects, which no needed step causes.
"""

from __future__ import annotations

import numpy as np
from pydantic import BaseModel

from attnpo.errors import DataError
from attnpo.labeling.causal.settings import CausalSettings
from attnpo.rollouts import StepLabel
from attnpo.statistics import Floats

SMALLEST_NOISE = 1e-3
"""Nats below which an effect is rounding."""
CLEAR_SEPARATION = 2.0
"""Ashman's D from which two groups count as apart."""
_SPREAD = 1.0
"""Smallest standard deviation of a group on the asinh scale: noise alone has about that much."""
_MEDIAN_OF_HALF_NORMAL = 0.6745


class Threshold(BaseModel):
    """Where essential begins, in nats.

    Attributes:
        calibration: how it was found; "given" where the user gave it.
        redundant_up_to: effects up to this are redundant.
        threshold: effects above this are more likely essential than redundant.
        essential_above: effects above this are essential; between the two ends lie undecided steps.
        noise: size of an effect that means nothing.
        separation: Ashman's D of the two groups on the asinh scale; below 2 they overlap.
        steps: how many effects it was found from.
    """

    calibration: str
    redundant_up_to: float
    threshold: float
    essential_above: float
    noise: float
    separation: float
    steps: int

    @property
    def doubtful(self) -> str | None:
        """Why the threshold should not be trusted, None where it may be."""
        if self.separation >= CLEAR_SEPARATION:
            return None
        return (
            f"the effects of {self.steps} steps do not fall into two groups (separation {self.separation:.2g}, "
            f"{CLEAR_SEPARATION:g} or more is clear)"
        )

    def label(self, effect: float) -> StepLabel:
        """Return the label of a step with this effect; a step without one (NaN) is undecided."""
        if effect > self.essential_above:
            return "essential"
        return "redundant" if effect <= self.redundant_up_to else "undecided"


def calibrate(effects: Floats, settings: CausalSettings) -> Threshold:
    """Find the threshold of a set of effects.

    Args:
        effects: effects of deleting each step alone, of all responses; NaN is left out.
        settings: how.

    Raises:
        DataError: there are not two different effects to tell apart, or no threshold is strict enough.
    """
    known = effects[np.isfinite(effects)]
    noise = noise_scale(known) if len(known) else SMALLEST_NOISE
    scaled = np.sort(np.arcsinh(known / noise))
    if len(known) < 2 or scaled[0] == scaled[-1]:
        if settings.causal_threshold is not None:
            return _given(settings.causal_threshold, noise, 0.0, len(known))
        raise DataError(
            f"causal labels: {len(known)} steps without two different effects are too few to find a threshold; "
            "give more responses, or a threshold of your own"
        )
    mixture = fit_mixture(scaled)
    if settings.causal_threshold is not None:
        return _given(settings.causal_threshold, noise, mixture.separation, len(known))
    cuts: list[float]
    if settings.causal_calibration == "mixture":
        cuts = [
            float(noise * np.sinh(mixture.cut(p)))
            for p in (1 - settings.causal_confidence, 0.5, settings.causal_confidence)
        ]
    elif settings.causal_calibration == "otsu":
        cuts = [float(noise * np.sinh(otsu_split(scaled)))] * 3
    else:
        cuts = [mirror_threshold(known, settings.causal_false_alarms)] * 3
        if not np.isfinite(cuts[0]):
            raise DataError(
                f"causal labels: among {len(known)} effects no threshold keeps false alarms under "
                f"{settings.causal_false_alarms:.0%}; give more responses, raise causal_false_alarms or choose another "
                "causal_calibration"
            )
    return Threshold(
        calibration=settings.causal_calibration,
        redundant_up_to=cuts[0],
        threshold=cuts[1],
        essential_above=cuts[2],
        noise=noise,
        separation=mixture.separation,
        steps=len(known),
    )


def noise_scale(effects: Floats) -> float:
    """Return the standard deviation of a normal distribution whose negative half is as wide as the negative effects."""
    negative = -effects[effects < 0]
    return max(SMALLEST_NOISE, float(np.median(negative)) / _MEDIAN_OF_HALF_NORMAL if len(negative) else 0.0)


class Mixture(BaseModel):
    """Two normal distributions: weights, means and standard deviations, the lower one first."""

    weights: tuple[float, float]
    means: tuple[float, float]
    deviations: tuple[float, float]

    @property
    def separation(self) -> float:
        """Ashman's D: distance of the means in (root mean square) standard deviations."""
        return float((self.means[1] - self.means[0]) / np.sqrt(np.mean(np.square(self.deviations))))

    def probability(self, x: Floats) -> Floats:
        """Return the probability that each value belongs to the upper group."""
        return _responsibilities(x, *map(np.asarray, (self.weights, self.means, self.deviations)))[:, 1]

    def cut(self, probability: float) -> float:
        """Return the first value between the two means from which on the upper group has this probability."""
        grid = np.linspace(self.means[0], self.means[1], 4001)
        reached = np.flatnonzero(self.probability(grid) >= probability)
        return float(grid[reached[0]] if len(reached) else self.means[1])


def fit_mixture(x: Floats, rounds: int = 1000, tolerance: float = 1e-9) -> Mixture:
    """Fit two normal distributions by expectation maximisation from Otsu's split.

    No group gets narrower than noise is, so a heap of effects that are exactly zero does not become one of the two.

    Args:
        x: sorted values, not all equal.
        rounds: most rounds.
        tolerance: stop when the mean log-likelihood grows by less.
    """
    upper = x > otsu_split(x)
    weight_NC = np.stack([~upper, upper], axis=1).astype(np.float64)
    before = -np.inf
    for _ in range(rounds):
        total_C = weight_NC.sum(axis=0)
        weights = total_C / len(x)
        means = (weight_NC * x[:, None]).sum(axis=0) / total_C
        variances = (weight_NC * (x[:, None] - means) ** 2).sum(axis=0) / total_C
        deviations = np.maximum(np.sqrt(variances), _SPREAD)
        density_NC = _log_density(x, weights, means, deviations)
        weight_NC = _responsibilities(x, weights, means, deviations)
        likelihood = float(np.logaddexp(density_NC[:, 0], density_NC[:, 1]).mean())
        if likelihood - before < tolerance:
            break
        before = likelihood
    order = np.argsort(means)
    parts = ((float(part[order[0]]), float(part[order[1]])) for part in (weights, means, deviations))
    return Mixture(**dict(zip(("weights", "means", "deviations"), parts, strict=True)))


def otsu_split(x: Floats) -> float:
    """Return the middle between the two neighbours where splitting leaves the least variance within both sides.

    Args:
        x: sorted values, not all equal.
    """
    left = np.arange(1, len(x))
    sums = np.cumsum(x)
    mean_left, mean_right = sums[:-1] / left, (sums[-1] - sums[:-1]) / (len(x) - left)
    between = left * (len(x) - left) * (mean_left - mean_right) ** 2
    # Equal values are not split.
    best = int(np.argmax(np.where(x[1:] > x[:-1], between, -1.0)))
    return float((x[best] + x[best + 1]) / 2)


def mirror_threshold(effects: Floats, false_alarms: float) -> float:
    """Return the smallest threshold with few false alarms, as the negative effects tell.

    Deleting a dispensable step raises the answer's probability as often as it lowers it, deleting a needed one hardly
    ever raises it: so the number of effects below −t estimates how many above t mean nothing. Infinite where no
    threshold is strict enough.

    Args:
        effects: the effects.
        false_alarms: estimated share of false alarms accepted among the effects above the threshold.
    """
    ordered = np.sort(effects)
    candidates = np.unique(np.abs(effects))
    above = len(ordered) - np.searchsorted(ordered, candidates, side="right")
    below = np.searchsorted(ordered, -candidates, side="left")
    accepted = np.flatnonzero((above > 0) & (1 + below <= false_alarms * above))
    return float(candidates[accepted[0]]) if len(accepted) else float("inf")


def _given(threshold: float, noise: float, separation: float, steps: int) -> Threshold:
    return Threshold(
        calibration="given",
        redundant_up_to=threshold,
        threshold=threshold,
        essential_above=threshold,
        noise=noise,
        separation=separation,
        steps=steps,
    )


def _log_density(x: Floats, weights: Floats, means: Floats, deviations: Floats) -> Floats:
    scaled_NC = (x[:, None] - means) / deviations
    density_NC: Floats = np.log(weights) - np.log(deviations * np.sqrt(2 * np.pi)) - 0.5 * scaled_NC**2
    return density_NC


def _responsibilities(x: Floats, weights: Floats, means: Floats, deviations: Floats) -> Floats:
    density_NC = _log_density(x, weights, means, deviations)
    shares_NC: Floats = np.exp(density_NC - np.logaddexp(density_NC[:, :1], density_NC[:, 1:]))
    return shares_NC
