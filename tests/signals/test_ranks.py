"""Scores of any unit on the scale of Eq. 6."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from attnpo.credit import CreditSettings, step_gamma
from attnpo.credit.batches import StepBatch
from attnpo.signals import ranked_scores

NAN = float("nan")


def ranked(scores, lengths, answer=6, response=60):
    lengths_BK = torch.tensor([lengths])
    found = ranked_scores(
        torch.tensor([scores]), lengths_BK, lengths_BK > 0, torch.tensor([answer]), torch.tensor([response])
    )
    return found[0].tolist()


def test_by_hand():
    # 10 + 20 + 10 tokens: u = (0 + 5) / 40, (10 + 10) / 40 and (30 + 5) / 40, times 2 · 6 / 60.
    assert ranked([-9.0, -3.0, 0.5], [10, 20, 10]) == pytest.approx([0.025, 0.1, 0.175])
    # Two steps alike share the middle of their tokens: u = (10 + 15) / 40 for both.
    assert ranked([-9.0, 2.0, 2.0], [10, 20, 10]) == pytest.approx([0.025, 0.125, 0.125])


def test_a_response_without_an_answer_keeps_its_order():
    assert ranked([-9.0, -3.0, 0.5], [10, 20, 10], answer=0) == pytest.approx([0.025 / 6, 0.1 / 6, 0.175 / 6])


def test_a_step_without_tokens_or_score_counts_for_no_other():
    assert ranked([-9.0, 77.0, -3.0, 0.5], [10, 0, 20, 10]) == pytest.approx([0.025, 0.0, 0.1, 0.175])
    found = ranked([-9.0, NAN, -3.0, 0.5], [10, 99, 20, 10])
    assert found[1] != found[1]
    assert [found[0], *found[2:]] == pytest.approx([0.025, 0.1, 0.175])
    assert ranked([1.0], [0]) == [0.0]


steps = st.lists(st.tuples(st.integers(-4, 4).map(float), st.integers(1, 50)), min_size=1, max_size=8)


@given(steps, st.integers(1, 20), st.integers(100, 900))
def test_order_is_kept_and_the_mean_over_think_tokens_is_even_attention(rows, answer, response):
    scores, lengths = map(list, zip(*rows, strict=True))
    found = ranked(scores, lengths, answer, response)
    for a, fa in zip(scores, found, strict=True):
        for b, fb in zip(scores, found, strict=True):
            assert (a < b) == (fa < fb)
    mean = sum(f * n for f, n in zip(found, lengths, strict=True)) / sum(lengths)
    assert mean == pytest.approx(answer / response)


@given(steps, st.sampled_from([0.25, 0.5, 0.75, 1.0]))
def test_positive_attenuation_cuts_where_p_squared_half_of_the_tokens_lie_below(rows, p):
    """Against Eq. 6 spelled out: u < p² / 2, whatever the unit of the scores."""
    if len(rows) < 2:
        return
    scores, lengths = map(list, zip(*rows, strict=True))
    total, answer = sum(lengths), 7
    lengths_BK, one = torch.tensor([lengths]), torch.ones(1)
    batch = StepBatch(
        scores_BK=torch.zeros(lengths_BK.shape),
        step_mask_BK=lengths_BK > 0,
        step_lengths_BK=lengths_BK,
        answer_lengths_B=torch.tensor([answer]),
        response_lengths_B=torch.tensor([total + answer]),
        prompt_lengths_B=torch.tensor([0]),
        advantages_B=one,
        correct_B=one.bool(),
        pass_rate_B=torch.tensor([p]),
        progress_step=10**6,
        row_ids_B=torch.tensor([0]),
    )
    own_BK = torch.tensor([scores])
    scores_BK = ranked_scores(own_BK, lengths_BK, lengths_BK > 0, batch.answer_lengths_B, batch.response_lengths_B)
    touched = (step_gamma(scores_BK, batch, CreditSettings(alpha_base=2.0)) < 1)[0].tolist()
    for k, score in enumerate(scores):
        below = sum(n for s, n in zip(scores, lengths, strict=True) if s < score)
        equal = sum(n for s, n in zip(scores, lengths, strict=True) if s == score)
        u = (below + equal / 2) / total
        if abs(u - p * p / 2) > 1e-6 or p == 1.0:  # elsewhere the float's rounding decides
            assert touched[k] == (u < p * p / 2 - (1e-9 if p == 1.0 else 0))
