from __future__ import annotations

import pytest

from attnpo.credit import build_method
from attnpo.errors import ConfigError

# correct in 50, correct in 80, wrong in 40, correct in 60 but cut off there
GROUP = [(True, 50), (True, 80), (False, 40), (True, 60)]


def method(**settings):
    return build_method("thinkprune", {"limits": [100, 60, 50], "stage_steps": 10, **settings})


@pytest.mark.parametrize(
    ("step", "expected"),
    [
        (0, [1, 1, 0, 0]),  # limit 100
        (9, [1, 1, 0, 0]),
        (10, [1, 0, 0, 0]),  # limit 60: 80 is too long
        (20, [1, 0, 0, 0]),  # limit 50: a response of exactly 50 is within
        (10**9, [1, 0, 0, 0]),  # the last stage goes on
    ],
)
def test_rewards_by_stage(make_groups, step, expected):
    assert method().rewards(make_groups(GROUP, t=step, unfinished=[3])).tolist() == [expected]


def test_advantages_are_grpos_over_the_standard_deviation(make_groups):
    # rewards 1 0 0 0: mean 1/4, sample variance (9 + 3 * 1) / 16 / 3 = 1/4, std 1/2
    groups = make_groups(GROUP, t=10, unfinished=[3])
    thinkprune = method()
    advantages = thinkprune.advantages(thinkprune.rewards(groups), groups)
    assert advantages[0].tolist() == pytest.approx([1.5, -0.5, -0.5, -0.5], abs=1e-3)


def test_published_stages():
    published = build_method("thinkprune")
    assert published.settings.limits == (4000, 3000, 2000)
    steps = published.settings.stage_steps
    limits = [published.response_limit(t) for t in (0, steps - 1, steps, 2 * steps, 9 * steps)]
    assert limits == [4000, 4000, 3000, 2000, 2000]


def test_without_a_limit_that_bites_it_is_the_outcome(make_groups):
    groups = make_groups(GROUP)
    assert method(limits=[1000]).rewards(groups).tolist() == build_method("grpo").rewards(groups).tolist()


@pytest.mark.parametrize("limits", [[], [100, 100], [50, 60], [0], 100, [10.5], "100"])
def test_limits_must_fall(limits):
    with pytest.raises(ConfigError, match=r"^limits: .* is not allowed; use a list of integers"):
        method(limits=limits)


def test_stages_that_the_runs_limit_makes_idle_are_refused():
    method().check(51, 8)
    with pytest.raises(ConfigError, match=r"^limits: \[100, 60, 50\] are not below the response limit of 50 tokens"):
        method().check(50, 8)
