"""What the inner products say of a credit: what a step along it changes, what is new in it, and how noisy it is."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from attnpo.gradients.products import Moments
from attnpo.statistics import Floats


def unit_change(moments: Moments, credit: int, wanted: int) -> Floats:
    """Return (S,) <mu_m, mu_w> / |mu_m|: first-order change of what is wanted by a unit step along a credit."""
    return moments.between_SMM[:, credit, wanted] / length(moments, credit)


def length(moments: Moments, credit: int) -> Floats:
    """Return (S,) |mu_m|, NaN where the estimate of its square is not positive."""
    squared_S = moments.between_SMM[:, credit, credit]
    return np.sqrt(np.where(squared_S > 0, squared_S, np.nan))


def ratio(moments: Moments, credit: int, top: int, bottom: int) -> Floats:
    """Return (S,) the change of one wanted thing for a unit of change of another, by steps along a credit."""
    return divided(moments.between_SMM[:, credit, top], moments.between_SMM[:, credit, bottom])


def cosine(moments: Moments, first: int, second: int) -> Floats:
    """Return (S,) the cosine of two mean gradients; above 1 by noise where both are nearly the same."""
    return unit_change(moments, first, second) / length(moments, second)


def outside(moments: Moments, credit: int, span: Sequence[int]) -> Floats:
    """Return (S,) the share of |mu_m|^2 outside the span of other mean gradients: 1 - b^T A^-1 b / |mu_m|^2.

    A credit of the span itself has 0; NaN where the others do not span as many dimensions as they are.
    """
    if credit in span:
        return np.zeros(len(moments.between_SMM))
    inner_SNN = moments.between_SMM[:, span][:, :, span]
    with_SN = moments.between_SMM[:, span, credit]
    spans_S = np.linalg.matrix_rank(inner_SNN) == len(span)
    inner_SNN = np.where(spans_S[:, None, None], inner_SNN, np.eye(len(span)))
    explained_S = np.einsum("sn,sn->s", with_SN, np.linalg.solve(inner_SNN, with_SN[:, :, None])[:, :, 0])
    return np.where(spans_S, 1 - divided(explained_S, moments.between_SMM[:, credit, credit]), np.nan)


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


def above_curve(moments: Moments, credit: int, accuracy: int, saved: int, term: int) -> Floats:
    """Return (S,) how much more accuracy a unit step along a credit gains than TLMRE's unit step of the same length.

    TLMRE weighed alpha steps along mu_accuracy + alpha mu_term. In that plane, at the angle theta from the first
    towards the second, a unit step saves R cos(theta - phi) tokens. Strengths of either sign take the half-plane of
    angles below that of mu_term; of those in it that save as many as the credit, the one with the smaller alpha is
    taken. NaN where no strength saves as many.

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

    def coordinates(wanted: int) -> tuple[Floats, Floats]:
        x_S = between_SMM[:, accuracy, wanted] / first_S
        return x_S, (between_SMM[:, term, wanted] - along_S * x_S) / second_S

    (gain_x, gain_y), (save_x, save_y) = coordinates(accuracy), coordinates(saved)
    most_S = np.hypot(save_x, save_y)
    share_S = unit_change(moments, credit, saved) / most_S
    share_S = np.where(np.abs(share_S) <= 1, share_S, np.nan)
    most_theta_S = np.arctan2(second_S, along_S)
    turns_2S = np.arctan2(save_y, save_x) + np.stack([-1, 1])[:, None] * np.arccos(share_S)
    below_2S = (most_theta_S - turns_2S) % (2 * np.pi)
    below_S = np.where(below_2S < np.pi, below_2S, -np.inf).max(axis=0)
    theta_S = most_theta_S - np.where(np.isfinite(below_S), below_S, np.nan)
    return unit_change(moments, credit, accuracy) - (gain_x * np.cos(theta_S) + gain_y * np.sin(theta_S))
