from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from attnpo.credit import build_method
from attnpo.errors import ConfigError

OWN = {"longest": 60, "shortest": 20, "cycle_steps": 8}


def test_worked_example(make_groups):
    # L(0) = 60, L(2) = 40, L(4) = 20, and back
    siri = build_method("siri", OWN)
    assert [siri.response_limit(t) for t in (0, 2, 4, 6, 8)] == [60, 40, 20, 40, 60]
    group = [(True, 40), (True, 41), (False, 5), (True, 20)]
    # cut at the limit with its answer before it: right all the same
    assert siri.rewards(make_groups(group, t=2, unfinished=[0, 1]))[0].tolist() == [1, 0, 0, 1]
    assert siri.rewards(make_groups(group, t=4))[0].tolist() == [0, 0, 0, 1]


def test_the_published_schedule():
    siri = build_method("siri")
    assert [siri.response_limit(t) for t in (0, 160, 320, 640, 1600, 1920)] == [16384, 12288, 8192, 16384, 8192, 16384]


@given(st.integers(0, 10**4), st.integers(1, 500), st.integers(1, 500), st.integers(1, 700))
def test_the_limit_stays_between_its_ends_and_comes_back(step, one, other, cycle):
    siri = build_method("siri", {"longest": max(one, other), "shortest": min(one, other), "cycle_steps": cycle})
    limit = siri.response_limit(step)
    assert min(one, other) <= limit <= max(one, other)
    assert abs(siri.response_limit(step + cycle) - limit) <= 1


def test_schedules_that_cannot_be():
    build_method("siri", OWN).check(60, 8)
    with pytest.raises(ConfigError, match=r"^longest: 60 is above the response limit of 59 tokens"):
        build_method("siri", OWN).check(59, 8)
    with pytest.raises(ConfigError, match=r"^shortest: 20 is not below the response limit of 20 tokens"):
        build_method("siri", {**OWN, "longest": 20}).check(20, 8)
    with pytest.raises(ConfigError, match=r"^shortest: 61 is not allowed; use at most longest, 60"):
        build_method("siri", {**OWN, "shortest": 61})
