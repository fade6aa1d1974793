"""Credit that keeps its sum, by hand and against what it says of itself."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from step_batches import step_batches

from attnpo.credit import CreditSettings, build_method, step_baseline
from attnpo.errors import ConfigError

KEPT_SUM = "benchmarks.hypotheses.kept_sum:KeptSum"


def test_the_sum_is_kept_whatever_the_ceiling(make_steps):
    # p = 1, bar 0.125: 6 tokens would give 6 halves away, but 2 tokens at the ceiling of 2 hold 2.
    # Row 1: nobody lies above the bar. Row 2: the step on the bar gets nothing, the one above it all.
    steps = make_steps(
        [[0.0625, 0.5, 0.125], [0.0625, 0.125, 0.125], [0.0625, 0.125, 0.5]],
        step_lengths=[[6, 2, 0], [6, 2, 1], [2, 6, 4]],
        pass_rate=1.0,
    )
    found = build_method(KEPT_SUM).gamma(steps).tolist()
    assert found[0] == pytest.approx([1 - 0.5 * 2 / 3, 2, 1])
    assert found[1] == [1, 1, 1]
    assert found[2] == [0.5, 1, 1.25]


@given(st.data(), st.sampled_from([1.0, 1.5, 50.0]), st.booleans())
def test_a_kept_sum_by_brute_force(make_steps, data, ceiling, negative):
    steps = data.draw(step_batches(make_steps))
    settings = {"schedule": False, "negative_attenuation": negative}
    found = build_method(KEPT_SUM, {**settings, "gamma_ceiling": ceiling}).gamma(steps)
    before = build_method("attnpo", settings).gamma(steps)
    tokens = torch.where(steps.owned_BK, steps.step_lengths_BK, 0).float()
    torch.testing.assert_close((found * tokens).sum(dim=1), tokens.sum(dim=1), atol=1e-3, rtol=1e-4)
    assert (found <= ceiling + 1e-6).all()
    assert (found >= before - 1e-6).all()
    above = steps.scores_BK > step_baseline(steps, CreditSettings())[:, None]
    assert not ((found > 1) & ~above).any()


def test_labels_stand_in_for_scores(make_steps):
    steps = make_steps([[0.0, 0.0, 0.0]], labels=[[1, 2, 0]], pass_rate=1.0, step_lengths=[[4, 4, 4]])
    assert build_method("benchmarks.hypotheses.kept_sum:KeptSumOracle").gamma(steps).tolist() == [[2, 0, 1]]


def test_a_ceiling_below_one_is_refused():
    with pytest.raises(ConfigError, match=r"^gamma_ceiling: "):
        build_method(KEPT_SUM, {"gamma_ceiling": 0.5})
