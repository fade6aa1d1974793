from __future__ import annotations

import math
import random

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from attnpo.credit.modes import count_modes, draw_without, forced_log_probs, is_no_think
from attnpo.errors import ConfigError

HALF = math.log(0.5)


@pytest.mark.parametrize(
    ("response", "no_think"),
    [
        ("</think>\n\nSo 3.", True),
        ("\n\n</think>So 3.", True),
        ("<think>\n\n</think>\n\nSo 3.", True),
        ("<think></think>", True),
        ("  \n<think>\n</think>3", True),
        ("Mia has 3.\n</think>\n\nSo 3.", False),
        ("<think>\nMia has 3.\n</think>\n\nSo 3.", False),
        (".\n</think>", False),
        ("<think>", False),
        ("<think>\n\n", False),
        ("<think>So 3.", False),
        ("", True),
        ("So 3.", True),
        # The think part ends at the first tag; a second <think> is no tag of the prompt's kind any more.
        ("</think>Wait.</think>3", True),
        ("<think><think></think>", False),
    ],
)
def test_a_mode_is_read_off_the_response(response, no_think):
    assert is_no_think(response) is no_think


def test_modes_are_counted_for_evaluations():
    assert count_modes("?", "</think>3", []) == {"no_think": (1, 1)}
    assert count_modes("?", "So 3.</think>3", [(0, 5)]) == {"no_think": (0, 1)}


@given(st.text(alphabet="ab \n<", max_size=8), st.text(max_size=8))
def test_only_white_space_may_stand_before_the_tag(think, answer):
    expected = think.strip() == ""
    assert is_no_think(f"{think}</think>{answer}") is expected
    assert is_no_think(f"<think>{think}</think>{answer}") is expected


def test_forced_tokens_worked_examples():
    # One token against one: 1/2. What both begin with, and what follows of a longer opening, is certain.
    assert forced_log_probs([7], [9]) == {0: HALF}
    assert forced_log_probs([1, 2, 7], [1, 2, 9, 8]) == {0: 0, 1: 0, 2: HALF}
    assert forced_log_probs([1, 2, 9, 8], [1, 2, 7]) == {0: 0, 1: 0, 2: HALF, 3: 0}
    assert forced_log_probs([5], [6], share=0.25) == {0: math.log(0.25)}


@pytest.mark.parametrize(("own", "other"), [([1, 2], [1]), ([1], [1, 2]), ([1], [1])])
def test_openings_that_do_not_tell_modes_apart(own, other):
    with pytest.raises(ConfigError, match=r"^think_opening: it and '</think>' begin with the same tokens"):
        forced_log_probs(own, other)


@given(st.lists(st.integers(0, 3), max_size=5), st.lists(st.integers(0, 3), max_size=5))
def test_the_probabilities_of_both_openings_sum_to_one(own, other):
    if own[: len(other)] == other or other[: len(own)] == own:
        return
    total = math.exp(sum(forced_log_probs(own, other).values())) + math.exp(sum(forced_log_probs(other, own).values()))
    assert total == pytest.approx(1)


@given(
    st.lists(st.floats(-30, 5), min_size=2, max_size=12),
    st.data(),
)
def test_a_drawn_token_has_the_probability_that_is_said(logits, data):
    excluded = data.draw(st.integers(0, len(logits) - 1))
    log_probs_V = torch.log_softmax(torch.tensor(logits, dtype=torch.float32), dim=0)
    token, log_prob = draw_without(log_probs_V, excluded, random.Random(data.draw(st.integers(0, 99))))
    assert token != excluded
    rest = [math.exp(float(value)) for place, value in enumerate(log_probs_V) if place != excluded]
    assert log_prob == pytest.approx(float(log_probs_V[token]) - math.log(math.fsum(rest)), abs=1e-6)


def test_tokens_are_drawn_as_often_as_they_are_likely():
    # 0.6 is excluded: 0.1, 0.3 and 0 are left, 1/4, 3/4 and 0.
    log_probs_V = torch.tensor([0.6, 0.1, 0.0, 0.3]).log()
    rng = random.Random(0)
    drawn = [draw_without(log_probs_V, 0, rng) for _ in range(4000)]
    assert {token for token, _ in drawn} == {1, 3}
    # standard deviation of the count: 27
    assert sum(token == 1 for token, _ in drawn) == pytest.approx(1000, abs=110)
    assert dict(drawn) == {1: pytest.approx(math.log(0.25)), 3: pytest.approx(math.log(0.75))}


def test_exact_where_the_excluded_token_has_nearly_all_probability():
    # In float32 1 - p is 0 here; the others are still told apart.
    log_probs_V = torch.log_softmax(torch.tensor([60.0, 1.0, 2.0]), dim=0)
    assert float(1 - log_probs_V[0].exp()) == 0
    token, log_prob = draw_without(log_probs_V, 0, random.Random(1))
    assert log_prob == pytest.approx((token - 1) - math.log(1 + math.e), abs=1e-5)
