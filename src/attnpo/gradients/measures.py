"""What the inner products say of a credit: what a step along it changes, what is new in it, and how noisy it is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from attnpo.gradients.products import Moments, jackknife
from attnpo.statistics import Floats

SURE = 2.0
"""Errors that a divisor has to lie away from 0 for a quotient to be known."""
ROUNDING = 1e-6
"""A share of |mu|^2 below this is what rounding, or a sketch, left of nothing."""


def unit_change(moments: Moments, credit: int, wanted: int) -> Floats:
    """Return (S,) <mu_m, mu_w> / |mu_m|: first-order change of what is wanted by a unit step along a credit."""
    return moments.between_SMM[:, credit, wanted] / length(moments, credit)


def length(moments: Moments, credit: int) -> Floats:
    """Return (S,) |mu_m|, NaN where the estimate of its square is not positive."""
    squared_S = moments.between_SMM[:, credit, credit]
    return np.sqrt(np.where(squared_S > 0, squared_S, np.nan))


def ratio(moments: Moments, credit: int, top: int, bottom: int) -> Floats:
    """Return (S,) the change of one wanted thing for a unit of change of another, by steps along a credit."""
    return over(moments, moments.between_SMM[:, credit, top], moments.between_SMM[:, credit, bottom])


def cosine(moments: Moments, first: int, second: int) -> Floats:
    """Return (S,) the cosine of two mean gradients; above 1 by noise where both are nearly the same."""
    return unit_change(moments, first, second) / length(moments, second)


def outside(moments: Moments, credit: int, span: Sequence[int]) -> Floats:
    """Return (S,) the share of |mu_m|^2 outside the span of other mean gradients: 1 - b^T A^-1 b / |mu_m|^2.

    A credit of the span itself has 0; NaN where noise leaves the others no space that they span, or |mu_m|^2 is not
    told from 0.
    """
    if credit in span:
        return np.zeros(len(moments.between_SMM))
    inner_SNN = moments.between_SMM[:, span][:, :, span]
    with_SN = moments.between_SMM[:, span, credit]
    spans_S = (np.linalg.eigvalsh(inner_SNN)[:, 0] > 0) & (np.linalg.matrix_rank(inner_SNN) == len(span))
    inner_SNN = np.where(spans_S[:, None, None], inner_SNN, np.eye(len(span)))
    explained_S = np.einsum("sn,sn->s", with_SN, np.linalg.solve(inner_SNN, with_SN[:, :, None])[:, :, 0])
    outside_S = 1 - over(moments, explained_S, moments.between_SMM[:, credit, credit])
    return np.where(spans_S, np.where(np.abs(outside_S) < ROUNDING, 0.0, outside_S), np.nan)


def noise(moments: Moments, credit: int) -> Floats:
    """Return (S,) E|g|^2 - |mu|^2 of one batch."""
    return moments.within_SMM[:, credit, credit] - moments.between_SMM[:, credit, credit]


def signal_to_noise(moments: Moments, credit: int) -> Floats:
    """Return (S,) |mu|^2 over the noise."""
    return divided(moments.between_SMM[:, credit, credit], noise(moments, credit))


def bought(moments: Moments, credit: int, wanted: int) -> Floats:
    """Return (S,) <mu_m, mu_w> / sqrt(noise): what a batch buys of something at a given noise of the step."""
    noise_S = noise(moments, credit)
    return moments.between_SMM[:, credit, wanted] / np.sqrt(np.where(noise_S > 0, noise_S, np.nan))


def divided(top_S: Floats, bottom_S: Floats) -> Floats:
    """Return (S,) quotients, NaN where the divisor is 0."""
    return np.divide(top_S, bottom_S, out=np.full_like(top_S, np.nan), where=bottom_S != 0)


def over(moments: Moments, top_S: Floats, bottom_S: Floats) -> Floats:
    """Return (S,) quotients; all NaN where the divisor is not told from 0.

    It is where it lies `SURE` of its errors away from it, on the same side without each of the batches.
    """
    known = bool((bottom_S * bottom_S[0] > 0).all())
    if known and len(bottom_S) > 1:
        found = jackknife(bottom_S, moments.parts)
        known = found is not None and abs(found.value) > SURE * found.error
    return divided(top_S, bottom_S) if known else np.full_like(top_S, np.nan)


@dataclass(frozen=True)
class CurvePoint:
    """TLMRE's unit step that saves as many tokens as a credit's: of what strength and sign, as a combination.

    Attributes:
        weights_SN: (S, 2) weights of the mean gradients of accuracy and of the length term; NaN where no strength saves
            as many.
        places: of these two among the moments.
    """

    weights_SN: Floats
    places: tuple[int, int]

    @classmethod
    def of(cls, moments: Moments, credit: int, accuracy: int, saved: int, term: int) -> CurvePoint:
        """Return the point that saves as many tokens as a unit step along a credit.

        TLMRE weighed alpha steps along mu_accuracy + alpha mu_term. In that plane, at the angle theta from the first
        towards the second, a unit step saves R cos(theta - phi) tokens. Strengths of either sign take the half-plane
        of angles below that of mu_term; of those in it that save as many as the credit, the one with the smaller alpha
        is taken.

        Args:
            moments: the moments.
            credit: place of the credit.
            accuracy: place of the accuracy's credit.
            saved: place of the length's.
            term: place of TLMRE's length term.
        """
        between_SMM = moments.between_SMM
        first_S = length(moments, accuracy)
        along_S = between_SMM[:, accuracy, term] / first_S
        rest_S = between_SMM[:, term, term] - along_S**2
        second_S = np.sqrt(np.where(rest_S > 0, rest_S, np.nan))
        save_x = between_SMM[:, accuracy, saved] / first_S
        save_y = (between_SMM[:, term, saved] - along_S * save_x) / second_S
        share_S = unit_change(moments, credit, saved) / np.hypot(save_x, save_y)
        share_S = np.where(np.abs(share_S) <= 1, share_S, np.nan)
        most_theta_S = np.arctan2(second_S, along_S)
        turns_2S = np.arctan2(save_y, save_x) + np.stack([-1, 1])[:, None] * np.arccos(share_S)
        below_2S = (most_theta_S - turns_2S) % (2 * np.pi)
        below_S = np.where(below_2S < np.pi, below_2S, -np.inf).max(axis=0)
        theta_S = most_theta_S - np.where(np.isfinite(below_S), below_S, np.nan)
        of_term_S = np.sin(theta_S) / second_S
        of_accuracy_S = (np.cos(theta_S) - along_S * of_term_S) / first_S
        return cls(np.stack([of_accuracy_S, of_term_S], axis=1), (accuracy, term))

    @property
    def strength_S(self) -> Floats:
        """(S,) the weight alpha of TLMRE's length term; below 0 where its sign is turned."""
        return divided(self.weights_SN[:, 1], self.weights_SN[:, 0])

    def gain(self, moments: Moments, wanted: int) -> Floats:
        """Return (S,) the first-order change of what is wanted by this unit step."""
        return np.einsum("sn,sn->s", self.weights_SN, moments.between_SMM[:, self.places, wanted])

    def noise(self, moments: Moments) -> Floats:
        """Return (S,) the noise of a batch's gradient whose mean is this unit step."""
        spread_SMM = moments.within_SMM - moments.between_SMM
        spread_SNN = spread_SMM[:, self.places][:, :, self.places]
        return np.einsum("sn,snk,sk->s", self.weights_SN, spread_SNN, self.weights_SN)


def above_curve(moments: Moments, credit: int, point: CurvePoint) -> Floats:
    """Return (S,) how much more accuracy a unit step along a credit gains than TLMRE's of the same length.

    Args:
        moments: the moments.
        credit: place of the credit.
        point: TLMRE's.
    """
    accuracy = point.places[0]
    return unit_change(moments, credit, accuracy) - point.gain(moments, accuracy)


def signal_to_noise_beside(moments: Moments, credit: int, point: CurvePoint) -> Floats:
    """Return (S,) the signal to noise of a credit over TLMRE's where that saves as many tokens; both as above."""
    return signal_to_noise(moments, credit) * point.noise(moments)  # |mu|^2 of the point is 1


def bought_above(moments: Moments, credit: int, point: CurvePoint) -> Floats:
    """Return (S,) how much more accuracy a batch buys by a credit than by TLMRE of as many tokens saved, at a noise.

    NaN where TLMRE gains no accuracy there: less noise would then buy more of a loss.
    """
    accuracy, noise_S = point.places[0], point.noise(moments)
    gain_S = point.gain(moments, accuracy)
    theirs_S = np.where(gain_S > 0, gain_S, np.nan) / np.sqrt(np.where(noise_S > 0, noise_S, np.nan))
    return bought(moments, credit, accuracy) - theirs_S
