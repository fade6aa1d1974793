from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from attnpo.credit import Method, MethodSettings, build_method
from attnpo.credit.layout import outcome, outcome_advantages
from attnpo.credit.methods import METHODS
from attnpo.credit.whitening import token_moments, whitened


def tokens(values, lengths):
    """Every token's number, response by response."""
    return torch.cat([torch.full((n,), v, dtype=torch.float64) for v, n in zip(values, lengths, strict=True)])


@given(st.lists(st.tuples(st.floats(-2, 2), st.integers(1, 9), st.booleans()), min_size=1, max_size=6))
def test_moments_and_whitening_against_the_tokens_themselves(responses):
    values, lengths, taking_part = (list(column) for column in zip(*responses, strict=True))
    counted = [(v, n) for v, n, part in responses if part]
    all_tokens = tokens(*zip(*counted, strict=True)) if counted else torch.zeros(0, dtype=torch.float64)
    got = whitened(torch.tensor([values]), torch.tensor([lengths]), torch.tensor([taking_part]))[0]
    assert got.dtype == torch.float32
    if len(all_tokens) > 1:
        scale = (all_tokens.var() + 1e-8).rsqrt()
        expected = [float((v - all_tokens.mean()) * scale) if p else v for v, _, p in responses]
        assert got.tolist() == pytest.approx(expected, abs=1e-3, rel=1e-4)
    else:
        assert [g for g, part in zip(got.tolist(), taking_part, strict=True) if part] == [0] * len(counted)


def test_moments_where_tokens_have_numbers_of_their_own():
    # tokens: 1 + (0, 2), -1 + (1,) -> 1, 3, 0
    mean, scale = token_moments(
        torch.tensor([[1.0, -1.0]]), torch.tensor([[2, 1]]), torch.tensor([[2.0, 1.0]]), torch.tensor([[4.0, 1.0]])
    )
    numbers = torch.tensor([1.0, 3.0, 0.0])
    assert float(mean) == pytest.approx(float(numbers.mean()))
    assert float(scale) == pytest.approx(float(numbers.std()) ** -1)


def test_any_method_can_be_whitened_and_groups_without_advantage_stay_out(make_groups):
    # group 0: +-1/2 on 10 and 30 tokens; mean -1/4, variance 40/39 * 3/16; group 1 teaches nothing
    groups = make_groups([[(True, 10), (False, 30)], [(True, 10), (True, 99)]])
    grpo = build_method("grpo", {"whiten": True})
    got = outcome_advantages(grpo, grpo.rewards(groups), groups)
    deviation = (40 / 39 * 3 / 16) ** 0.5
    assert got[0].tolist() == pytest.approx([0.75 / deviation, -0.25 / deviation], rel=1e-5)
    assert got[1].tolist() == [0, 0]
    _, found = outcome(grpo, groups)
    assert torch.equal(found["advantages"], got.flatten())


def test_it_is_off_unless_asked_for():
    on = {name for name, method in METHODS.items() if method.settings_type().whiten}
    assert on == {"dler", "da_dler", "vsrm"}
    assert MethodSettings().whiten is False


class Shortest(Method):
    """Keeps the shortest response of each group and whatever is as short."""

    def select(self, rewards_PG, groups):
        return groups.lengths_PG == groups.lengths_PG.amin(dim=1, keepdim=True)


def test_what_is_not_selected_is_neither_compared_nor_whitened(make_groups):
    groups = make_groups([(True, 10), (False, 10), (False, 99), (True, 99)])
    method = Shortest(MethodSettings(whiten=True))
    got = outcome_advantages(method, method.rewards(groups), groups)[0].tolist()
    # RLOO among the two: +1, -1; 20 tokens of mean 0 and variance 20/19
    assert got == pytest.approx([(19 / 20) ** 0.5, -((19 / 20) ** 0.5), 0, 0], rel=1e-6)
