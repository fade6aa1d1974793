from __future__ import annotations

from dataclasses import replace

import pytest

from attnpo.credit import build_method
from attnpo.errors import ConfigError

# short and correct; correct at the target; correct and long; wrong; wrong and cut off
GROUP = [(True, 100), (True, 150), (True, 151), (False, 50), (False, 256)]


def method(**settings):
    return build_method("laser", {"target_length": 150, **settings})


def test_worked_example(make_groups):
    laser, groups = method(), make_groups(GROUP, unanswered=[4])
    rewards = laser.rewards(groups)
    assert rewards.tolist() == [[1.5, 1.5, 1.0, -0.5, -1.0]]
    # mean 0.5; deviations 1, 1, 0.5, -1, -1.5; sample variance (1 + 1 + 0.25 + 1 + 2.25) / 4 = 1.375, std 1.172604
    expected = [0.852803, 0.852803, 0.426401, -0.852803, -1.279204]
    assert laser.advantages(rewards, groups)[0].tolist() == pytest.approx(expected, abs=1e-3)


def test_a_closed_answer_is_what_format_means_and_finished_stands_in(make_groups):
    groups = make_groups([(False, 9), (False, 9)], unanswered=[0], unfinished=[1])
    assert method().rewards(groups).tolist() == [[-1, -1]]
    assert method().rewards(replace(groups, answered_PG=None)).tolist() == [[-0.5, -1]]


def test_published_settings():
    settings = build_method("laser").settings
    assert (settings.target_length, settings.bonus, settings.advantage, settings.scale_advantages) == (
        4096,
        0.5,
        "grpo",
        True,
    )


def test_without_bonus_and_base_it_is_the_outcome(make_groups):
    plain = method(bonus=0, wrong_reward=0, unanswered_reward=0)
    assert plain.rewards(make_groups(GROUP, unanswered=[4])).tolist() == [[1, 1, 1, 0, 0]]


@pytest.mark.parametrize(
    ("field", "value"), [("target_length", 0), ("target_length", 10.5), ("bonus", -1), ("wrong_reward", None)]
)
def test_values_out_of_range(field, value):
    with pytest.raises(ConfigError, match=f"^{field}: {value!r} is not allowed"):
        method(**{field: value})


def test_a_target_above_the_response_limit_is_refused():
    method().check(150, 8)
    with pytest.raises(ConfigError, match=r"^target_length: 150 is above the response limit of 149 tokens"):
        method().check(149, 8)
