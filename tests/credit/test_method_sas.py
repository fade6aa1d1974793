from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from attnpo.credit import build_method
from attnpo.errors import ConfigError


def gamma(steps, **settings):
    return build_method("sas", settings).gamma(steps).tolist()


def test_worked_example(make_steps):
    # of 4 steps ceil(1.2) = 2 lose credit if right; of a wrong response all but ceil(2.8) = 3
    scores = [[-0.1, -0.9, -0.5, -0.2]] * 2
    steps = make_steps(scores, correct=[True, False], advantage=[1.0, -1.0])
    assert gamma(steps) == [[1, 0, 0, 1], [0, 1, 1, 1]]
    assert gamma(steps, responses="correct") == [[1, 0, 0, 1], [1, 1, 1, 1]]
    assert gamma(steps, responses="wrong") == [[1, 1, 1, 1], [0, 1, 1, 1]]


def test_the_released_code_takes_every_step_of_right_responses_and_none_of_wrong_ones(make_steps):
    steps = make_steps([[-0.1, -0.9, -0.5]] * 2, correct=[True, False])
    assert gamma(steps, released_code=True) == [[0, 0, 0], [1, 1, 1]]


def test_what_is_no_step_and_what_has_no_score_does_not_count(make_steps):
    nan = float("nan")
    steps = make_steps([[-0.5, nan, -0.1, -0.9]], step_lengths=[[4, 4, 4, 0]])
    # two steps with a score and tokens: ceil(0.6) = 1
    assert gamma(steps) == [[0, 1, 1, 1]]


def test_a_share_that_is_whole_is_not_rounded_up(make_steps):
    steps = make_steps([[float(k) for k in range(10)]])
    assert gamma(steps)[0] == [0] * 3 + [1] * 7


@given(
    st.lists(st.lists(st.floats(-5, 0, width=32), min_size=1, max_size=7, unique=True), min_size=1, max_size=4),
    st.integers(0, 10),
    st.data(),
)
def test_as_many_steps_as_the_share_says_and_the_right_ones(make_steps, scores, tenths, data):
    share = tenths / 10
    correct = data.draw(st.lists(st.booleans(), min_size=len(scores), max_size=len(scores)))
    found = gamma(make_steps(scores, correct=correct), share=share)
    for row, factors, right in zip(scores, found, correct, strict=True):
        lost = [s for s, factor in zip(row, factors, strict=False) if factor == 0]
        kept = [s for s, factor in zip(row, factors, strict=False) if factor == 1]
        assert len(lost) + len(kept) == len(row)
        if right:
            assert len(lost) == math.ceil(tenths * len(row) / 10)
            assert not (lost and kept) or max(lost) < min(kept)
        else:
            assert len(kept) == math.ceil((10 - tenths) * len(row) / 10)
            assert not (lost and kept) or min(lost) > max(kept)


@pytest.mark.parametrize("right", [True, False])
def test_equal_scores_are_ordered_at_random_and_not_by_place(make_steps, right):
    rows = 400
    scores = [[-0.5] * 4 + [-0.1]] * rows
    found = torch.tensor(gamma(make_steps(scores, correct=right)))
    # of 5 steps ceil(1.5) = 2 lose credit if right, one if wrong: the likeliest
    lost = (found == 0).float().sum(dim=0)
    if not right:
        assert lost.tolist() == [0, 0, 0, 0, rows]
        return
    assert (found == 0).sum(dim=1).tolist() == [2] * rows
    assert lost[4] == 0
    assert all(150 < number < 250 for number in lost[:4].tolist())
    # neither padding nor the other rows matter, the seed does
    wide = gamma(make_steps([scores[0]], correct=right, row_ids=[7], width=9))[0]
    assert wide[:5] == found[7].tolist()
    assert gamma(make_steps(scores, correct=right), seed=1) != found.tolist()


def test_a_limit_of_its_own_shortens(make_groups):
    sas = build_method("sas", {"limit": 30})
    assert sas.response_limit(3) == 30
    # cut at the limit with its answer before it: right all the same
    groups = make_groups([(True, 30), (True, 31), (False, 5)], unfinished=[0])
    assert sas.rewards(groups).tolist() == [[1, 0, 0]]
    assert build_method("sas").rewards(groups).tolist() == [[1, 1, 0]]
    assert build_method("sas").response_limit(3) is None
    with pytest.raises(ConfigError, match=r"^limit: 30 is above the response limit of 29 tokens"):
        sas.check(29, 8)


def test_published_settings():
    own = build_method("sas").settings
    assert (own.share, own.responses, own.released_code, own.advantage, own.scale_advantages) == (
        0.3,
        "both",
        False,
        "grpo",
        True,
    )
    assert build_method("sas").needs_scores
    with pytest.raises(ConfigError, match=r"^responses: 'all' is not allowed"):
        build_method("sas", {"responses": "all"})
