from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from attnpo.credit import build_method
from attnpo.credit.layout import outcome_advantages
from attnpo.errors import ConfigError


def advantages(method, groups):
    return outcome_advantages(method, method.rewards(groups), groups)[0].tolist()


def test_worked_example(make_groups):
    # the three shortest earn 1 0 1: mean 2/3, std sqrt(1/3); the long ones get nothing, right or wrong
    groups = make_groups([(True, 10), (False, 20), (True, 90), (True, 30), (False, 80)])
    deviation = 3**-0.5 + 1e-4
    assert advantages(build_method("gfpo", {"keep": 3}), groups) == pytest.approx(
        [1 / 3 / deviation, -2 / 3 / deviation, 0, 1 / 3 / deviation, 0], rel=1e-5
    )


def test_by_reward_a_token_wrong_ones_come_last(make_groups):
    groups = make_groups([(True, 10), (False, 20), (True, 90), (True, 30)])
    method = build_method("gfpo", {"keep": 2, "metric": "reward_per_token"})
    assert method.select(method.rewards(groups), groups)[0].tolist() == [True, False, False, True]


def test_of_equal_rewards_a_token_the_shorter_responses_stay(make_groups):
    # one right; the wrong ones all earn 0 a token
    groups = make_groups([(False, 90), (True, 50), (False, 20), (False, 30), (False, 30)])
    for keep, kept in ((1, [1]), (2, [1, 2]), (3, [1, 2, 3, 4]), (4, [1, 2, 3, 4])):
        method = build_method("gfpo", {"keep": keep, "metric": "reward_per_token"})
        assert method.select(method.rewards(groups), groups)[0].nonzero().flatten().tolist() == kept


def test_to_keep_everything_is_refused():
    build_method("gfpo", {"keep": 7}).check(256, 8)
    with pytest.raises(ConfigError, match=r"^keep: 8 of the 8 responses to a prompt are all of them"):
        build_method("gfpo").check(256, 8)
    build_method("gfpo", {"adaptive": True}).check(256, 8)
    with pytest.raises(ConfigError, match=r"^adaptive_keep: 4 of the 4 responses"):
        build_method("gfpo", {"adaptive": True}).check(256, 4)


def test_the_adaptive_form_keeps_fewer_of_easy_prompts(make_groups):
    rows = [[(i < right, 10 + i) for i in range(8)] for right in (0, 2, 4, 8)]
    groups = make_groups(rows)
    method = build_method("gfpo", {"adaptive": True, "adaptive_keep": [7, 5, 3, 1]})
    method.observe(groups)
    assert method.select(method.rewards(groups), groups).sum(dim=1).tolist() == [7, 5, 3, 1]
    resumed = build_method("gfpo", {"adaptive": True})
    resumed.load_state_dict(json.loads(json.dumps(method.state_dict())))
    assert resumed.seen == method.seen
    # where all prompts so far are alike none is easier than the others
    alike = build_method("gfpo", {"adaptive": True, "adaptive_keep": [7, 5, 3, 1]})
    alike.observe(make_groups(rows[3:] * 3))
    assert alike.select(alike.rewards(groups), groups).sum(dim=1).tolist()[3] == 7


@given(st.lists(st.tuples(st.booleans(), st.integers(1, 60)), min_size=2, max_size=8), st.integers(1, 10))
def test_credit_goes_to_short_responses_alone_and_sums_to_nothing(make_groups, group, keep):
    got = advantages(build_method("gfpo", {"keep": keep}), make_groups(group))
    border = sorted(length for _, length in group)[min(keep, len(group)) - 1]
    assert all(value == 0 for (_, length), value in zip(group, got, strict=True) if length > border)
    assert sum(got) == pytest.approx(0, abs=1e-4)
    if keep >= len(group):
        grpo = build_method("grpo-std")
        assert got == pytest.approx(advantages(grpo, make_groups(group)), abs=1e-6)


def test_adaptive_numbers_are_four():
    with pytest.raises(ConfigError, match=r"^adaptive_keep: .* is not allowed; use a list of four integers"):
        build_method("gfpo", {"adaptive_keep": [8, 6]})
