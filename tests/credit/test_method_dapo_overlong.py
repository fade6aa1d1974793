from __future__ import annotations

import pytest

from attnpo.credit import build_method
from attnpo.errors import ConfigError, DataError

GROUP = [(True, 50), (True, 60), (True, 80), (False, 60), (False, 100), (False, 120)]


def method(**settings):
    return build_method("dapo_overlong", {"buffer": 40, **settings})


def test_worked_example(make_groups):
    # Lmax 100, Lc 40: no penalty up to 60, (60 - 80) / 40 = -1/2 at 80, -1 from 100 on
    assert method().rewards(make_groups(GROUP, limit=100)).tolist() == [[1, 1, 0.5, -1, -2, -2]]
    assert method(max_length=100).rewards(make_groups(GROUP, limit=400)).tolist() == [[1, 1, 0.5, -1, -2, -2]]


def test_short_responses_get_grpos_advantages(make_groups):
    groups = make_groups([(True, 9), (False, 9), (False, 60)], limit=100)
    plain, dapo = build_method("grpo-std"), method()
    # rewards 1 and -1 are 0 and 1 stretched: the standard deviation takes the factor out again
    expected = plain.advantages(plain.rewards(groups), groups)[0].tolist()
    assert dapo.advantages(dapo.rewards(groups), groups)[0].tolist() == pytest.approx(expected, abs=1e-3)


def test_no_penalty_and_no_negative_reward_is_the_outcome(make_groups):
    plain = method(penalty=0, wrong_reward=0)
    assert plain.rewards(make_groups(GROUP, limit=100)).tolist() == [[1, 1, 1, 0, 0, 0]]


def test_the_response_limit_must_be_known(make_groups):
    with pytest.raises(DataError, match=r"^method dapo_overlong: needs the response limit"):
        method().rewards(make_groups(GROUP))


@pytest.mark.parametrize(("field", "value"), [("buffer", 0), ("penalty", -1), ("max_length", 0), ("wrong_reward", "x")])
def test_values_out_of_range(field, value):
    with pytest.raises(ConfigError, match=f"^{field}: {value!r} is not allowed"):
        method(**{field: value})


def test_settings_that_would_do_something_else_under_the_runs_limit_are_refused():
    method().check(41, 8)
    with pytest.raises(ConfigError, match=r"^buffer: 40 leaves nothing of a response limit of 40 tokens"):
        method().check(40, 8)
    with pytest.raises(ConfigError, match=r"^max_length: the penalty would start at 100 tokens, .* end at 100"):
        method(max_length=140).check(100, 8)
    build_method("dapo_overlong").check(20480, 8)
