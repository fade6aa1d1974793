"""Measures of known mean gradients against plain geometry."""

from __future__ import annotations

import numpy as np
import pytest

from attnpo.gradients import measures
from attnpo.gradients.products import Moments

RNG = np.random.default_rng(3)
ACCURACY, SAVED, TERM = RNG.normal(size=(3, 6))
ACCURACY += 1.5 * SAVED  # a verdict's gradient that saves tokens too
TERM = 0.7 * SAVED + 0.2 * TERM - 0.1 * ACCURACY


def moments(*more: np.ndarray, noise: float = 2.0) -> Moments:
    rows = np.stack([ACCURACY, SAVED, TERM, *more])
    inner = (rows @ rows.T)[None]
    return Moments(inner, inner + noise * np.eye(len(rows)))


def above(found: Moments) -> float:
    return measures.above_curve(found, 3, measures.CurvePoint.of(found, 3, 0, 1, 2))[0]


def unit(vector: np.ndarray) -> np.ndarray:
    return vector / np.linalg.norm(vector)


@pytest.mark.parametrize("strength", [0.05, 0.2, 0.5])
def test_the_curve_itself_lies_on_the_curve(strength):
    point = ACCURACY + strength * TERM
    below_the_most = unit(point) @ SAVED < max(unit(ACCURACY + a * TERM) @ SAVED for a in np.linspace(0, 50, 4001))
    assert below_the_most
    assert above(moments(3.0 * point)) == pytest.approx(0, abs=1e-9)


def test_what_leaves_the_plane_is_held_against_the_point_that_saves_as_much():
    away = RNG.normal(size=6)
    credit = ACCURACY + 0.3 * TERM + 0.4 * away
    strengths = np.linspace(-0.9, 5, 400_001)
    points = ACCURACY + strengths[:, None] * TERM
    points /= np.linalg.norm(points, axis=1)[:, None]
    nearest = np.abs(points @ SAVED - unit(credit) @ SAVED).argmin()
    wanted = unit(credit) @ ACCURACY - points[nearest] @ ACCURACY
    assert abs(wanted) > 0.01
    assert above(moments(credit)) == pytest.approx(wanted, abs=1e-4)


@pytest.mark.parametrize("share", [-0.99, -0.6, -0.2, 0.3, 0.7, 0.95])
@pytest.mark.parametrize("turn", range(6))
def test_points_behind_the_half_plane_of_the_curve_are_none_of_its(turn, share):
    """Saved tokens in any direction of the plane: against all strengths of either sign, the smallest that fits."""
    rng = np.random.default_rng(turn)
    accuracy, saved, term = rng.normal(size=(3, 4))
    plane = np.linalg.qr(np.stack([accuracy, term], axis=1))[0]
    along = share * np.linalg.norm(plane.T @ saved) / np.linalg.norm(saved)
    other = rng.normal(size=4)
    other -= saved * (other @ saved) / (saved @ saved)
    credit = along * unit(saved) + (1 - along**2) ** 0.5 * unit(other)
    strengths = np.tan(np.linspace(-np.pi / 2, np.pi / 2, 400_003)[1:-1])
    points = accuracy + strengths[:, None] * term
    points /= np.linalg.norm(points, axis=1)[:, None]
    off = points @ saved - credit @ saved
    crossed = np.flatnonzero(np.sign(off[:-1]) != np.sign(off[1:]))
    rows = np.stack([accuracy, saved, term, credit])
    inner = (rows @ rows.T)[None]
    found = above(Moments(inner, inner))
    if len(crossed):
        assert found == pytest.approx(credit @ accuracy - points[crossed[0]] @ accuracy, abs=2e-3)
    else:
        assert np.isnan(found)


@pytest.mark.parametrize("quieter", [1.0, 4.0])
def test_noise_is_held_against_the_point_that_saves_as_much(quieter):
    """A credit of 0.5 accuracy + 0.3 term, whose noise is that of TLMRE's point there or a quarter of it."""
    strength, scale, noise = 0.6, 0.5, np.diag([2.0, 3.0, 0.7])
    noise[0, 2] = noise[2, 0] = 0.4
    rows = np.stack([ACCURACY, SAVED, TERM, scale * (ACCURACY + strength * TERM)])
    mixed = np.vstack([np.eye(3), scale * np.array([1, 0, strength])])
    spread = mixed @ noise @ mixed.T
    spread[3, 3] /= quieter
    found = Moments((rows @ rows.T)[None], (rows @ rows.T + spread)[None])
    point = measures.CurvePoint.of(found, 3, 0, 1, 2)
    assert measures.signal_to_noise_beside(found, 3, point)[0] == pytest.approx(quieter)
    bought = rows[3] @ ACCURACY / np.sqrt(spread[3, 3])
    assert measures.bought_above(found, 3, point)[0] == pytest.approx(bought * (1 - quieter**-0.5), abs=1e-9)


@pytest.mark.parametrize("strength", [0.05, 0.3])
def test_the_strength_of_the_point_is_that_of_tlmre(strength):
    found = moments(3 * (ACCURACY + strength * TERM))
    assert measures.CurvePoint.of(found, 3, 0, 1, 2).strength_S[0] == pytest.approx(strength)


def test_less_noise_does_not_buy_more_of_a_loss():
    """Where TLMRE loses accuracy, a quieter batch of the same mean loses more for its noise, and is no worse for it."""
    loses = np.stack([ACCURACY, SAVED, -ACCURACY / 2 + 0.1 * TERM, -ACCURACY + 0.2 * TERM])
    found = Moments((loses @ loses.T)[None], (loses @ loses.T + np.eye(4))[None])
    point = measures.CurvePoint.of(found, 3, 0, 1, 2)
    assert point.gain(found, 0)[0] < 0
    assert np.isnan(measures.bought_above(found, 3, point)[0])


@pytest.mark.parametrize(
    ("divisor", "known"),
    [
        ([1.0, 1.01, 0.99, 1.0], True),
        ([-1.0, -1.01, -0.99, -1.0], True),
        ([0.1, 0.3, -0.1, 0.1], False),  # another sign without one of the batches
        ([0.1, 0.2, 0.02, 0.08], False),  # 0.15 is the error
    ],
)
def test_nothing_is_divided_by_what_may_be_0(divisor, known):
    found = Moments(np.zeros((4, 1, 1)), np.zeros((4, 1, 1)), (3,))
    quotients = measures.over(found, np.ones(4), np.array(divisor))
    assert quotients == pytest.approx(1 / np.array(divisor)) if known else np.isnan(quotients).all()


def test_no_strength_saves_as_much():
    assert np.isnan(above(moments(SAVED)))


def test_share_outside_a_span_is_that_of_the_projection():
    credit = ACCURACY - TERM + RNG.normal(size=6)
    span = np.stack([ACCURACY, TERM])
    projected = span.T @ np.linalg.lstsq(span.T, credit, rcond=None)[0]
    wanted = 1 - projected @ projected / (credit @ credit)
    found = moments(credit)
    assert measures.outside(found, 3, [0, 2])[0] == pytest.approx(wanted)
    assert measures.outside(found, 0, [0, 2])[0] == 0


def test_worked_numbers():
    rows = np.array([[3.0, 4.0], [1.0, 0.0]])
    inner = (rows @ rows.T)[None]
    found = Moments(inner, inner + np.diag([5.0, 3.0]))
    assert measures.unit_change(found, 0, 1)[0] == pytest.approx(3 / 5)
    assert measures.cosine(found, 0, 1)[0] == pytest.approx(3 / 5)
    assert measures.ratio(found, 0, 1, 0)[0] == pytest.approx(3 / 25)
    assert measures.noise(found, 0)[0] == pytest.approx(5)
    assert measures.signal_to_noise(found, 0)[0] == pytest.approx(5)
    assert measures.bought(found, 0, 1)[0] == pytest.approx(3 / np.sqrt(5))


def test_credits_that_nothing_moves_are_not_known():
    found = Moments(np.zeros((1, 4, 4)), np.zeros((1, 4, 4)))
    assert np.isnan(measures.outside(found, 3, [0, 2])[0])
    assert np.isnan(above(found))
    assert np.isnan(measures.signal_to_noise(found, 3)[0])
    assert np.isnan(measures.ratio(found, 3, 0, 1)[0])


def test_nothing_lies_outside_a_plane_that_noise_has_turned_over():
    inner = np.diag([1.0, 1.0, -0.2, 1.0])  # an estimate of |mu|^2 may be negative
    assert np.isnan(measures.outside(Moments(inner[None], inner[None]), 3, [0, 2])[0])


def test_a_square_that_noise_made_negative_has_no_root():
    found = Moments(np.array([[[-0.1, 0.2], [0.2, 1.0]]]), np.ones((1, 2, 2)))
    assert np.isnan(measures.unit_change(found, 0, 1)[0])
