"""The length term: as a whole against Eq. 3, token by token against plain loops."""

from __future__ import annotations

import math

import pytest
import torch
from benchmarks.hypotheses.length_term import LengthTerm, advantages_to_go, token_weights
from hypothesis import given
from hypothesis import strategies as st

from attnpo.credit import tlmre_rewards
from attnpo.errors import DataError


def alive(lengths: list[list[int]]) -> torch.Tensor:
    """Weights that count every token of the responses."""
    table = torch.tensor(lengths)
    return (torch.arange(int(table.max())) < table[:, :, None]).double()


def to_go(correct, lengths, weights, alpha_len=0.0, price=0.0) -> torch.Tensor:
    right = torch.tensor(correct)
    term = LengthTerm.of(right, weights.sum(dim=2), alpha_len, price)
    return advantages_to_go(term, right, torch.tensor(lengths), weights)


@st.composite
def groups(draw):
    shape = draw(st.integers(1, 2)), draw(st.integers(1, 4))

    def table(values):
        return [draw(st.lists(values, min_size=shape[1], max_size=shape[1])) for _ in range(shape[0])]

    return table(st.booleans()), table(st.integers(1, 5))


@given(groups(), st.floats(0, 1))
def test_of_the_length_it_is_eq_3(group, alpha_len):
    correct, lengths = (torch.tensor(rows) for rows in group)
    paid = LengthTerm.of(correct, lengths, alpha_len).paid(correct, lengths)
    torch.testing.assert_close((correct.double() - paid).float(), tlmre_rewards(correct, lengths, alpha_len))


def test_a_price_is_paid_by_right_and_wrong_responses():
    correct, amounts = torch.tensor([[True, False]]), torch.tensor([[3.5, 2.0]])
    assert LengthTerm.of(correct, amounts, 0.0, 0.1).paid(correct, amounts).tolist() == [[pytest.approx(0.35), 0.2]]


def test_amounts_that_differ_by_rounding_do_not_vary():
    correct, amounts = torch.ones(1, 3), torch.tensor([[0.1 + 0.2, 0.3, 0.3]], dtype=torch.float64)
    assert LengthTerm.of(correct, amounts, 0.2).paid(correct, amounts).tolist() == [[0.1] * 3]


def test_lengths_still_to_come_by_hand():
    # The third has 2 tokens to come at token 2, the second 1 and the first none; at token 3 it is alone.
    found = to_go([[False] * 3], [[2, 3, 4]], alive([[2, 3, 4]]), price=1.0)
    assert found.tolist() == [[[1.5, 1.5, 0, 0], [0, 0, 0, 0], [-1.5, -1.5, -1.5, -1]]]


def test_weighed_tokens_still_to_come_by_hand():
    # 2, 1, 1 to come of the first; 1, 1 of the second, which has nothing to say of the last token.
    weights = torch.tensor([[[1.0, 0.0, 1.0], [0.0, 1.0, 0.0]]])
    assert to_go([[False] * 2], [[3, 2]], weights, price=1.0).tolist() == [[[-1, 0, -1], [1, 0, 0]]]


def test_what_stands_before_counts_in_eq_3():
    # Both right, amounts 1 and 3: mean 2, deviation 1. From token 1 on the second is held against ending there.
    found = to_go([[True] * 2], [[1, 3]], alive([[1, 3]]), alpha_len=1.0)[0]
    low, high = 1 / (1 + math.e), 1 / (1 + math.exp(-1))
    assert found[0].tolist() == pytest.approx([high - low, 0, 0])
    assert found[1].tolist() == pytest.approx([low - high, low - high, 0.5 - high])


@given(groups(), st.sampled_from([0.0, 0.4]), st.sampled_from([0.0, 0.1]), st.booleans(), st.data())
def test_to_go_agrees_with_plain_loops(group, alpha_len, price, weighed, data):
    correct, lengths = group
    weights = alive(lengths)
    if weighed:
        shares = st.sampled_from([0.0, 0.25, 1.0])
        weights *= torch.tensor(data.draw(st.lists(shares, min_size=weights.numel(), max_size=weights.numel()))).view(
            weights.shape
        )
    found = to_go(correct, lengths, weights, alpha_len, price)
    for p, (right, tokens) in enumerate(zip(correct, lengths, strict=True)):
        size, w = len(right), weights[p].tolist()
        amounts = [sum(row) for row in w]
        paying = [x for x, ok in zip(amounts, right, strict=True) if ok]
        mean = sum(paying) / len(paying) if paying else 0.0
        std = math.sqrt(sum((x - mean) ** 2 for x in paying) / len(paying)) if paying else 0.0

        def paid(ok: float, x: float, mean: float = mean, std: float = std) -> float:
            z = (x - mean) / std if std > 1e-9 else 0.0
            return alpha_len * ok / (1 + math.exp(-z)) + price * x

        for i in range(size):
            for t in range(weights.shape[2]):
                others = [j for j in range(size) if j != i]
                expected = 0.0
                if t < tokens[i] and others:
                    values = [paid(right[j], sum(w[i][:t]) + sum(w[j][t:])) for j in others]
                    expected = sum(values) / len(values) - paid(right[i], amounts[i])
                assert float(found[p, i, t]) == pytest.approx(expected, abs=1e-6)


def test_tokens_weigh_as_much_as_their_step(make_steps):
    from dataclasses import replace

    steps = make_steps([[0.0, 0.0, 0.0], [0.0]], step_lengths=[[2, 0, 1], [1]])
    weights = torch.tensor([[0.3, 9.0, 0.1], [1.0, 9.0, 9.0]])
    with pytest.raises(DataError, match="step_starts_BK"):
        token_weights(steps, weights, 5)
    steps = replace(steps, step_starts_BK=torch.tensor([[1, 3, 4], [0, 0, 0]]))
    found = token_weights(steps, weights, 5)
    assert found[0].tolist() == pytest.approx([0, 0.3, 0.3, 0, 0.1])
    assert found[1].tolist() == [1, 0, 0, 0, 0]
