from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from attnpo.credit import build_method
from attnpo.credit.layout import outcome_advantages
from attnpo.errors import ConfigError

# right within 50, right beyond, wrong, right within but cut there
GROUP = [(True, 50), (True, 51), (False, 10), (True, 20)]


def test_worked_example(make_groups):
    # rewards 1 0 0 0, advantages 3/4 and -1/4; over 50 + 51 + 10 + 20 tokens
    groups = make_groups(GROUP, unfinished=[3])
    dler = build_method("dler", {"limit": 50})
    rewards = dler.rewards(groups)
    assert rewards.tolist() == [[1, 0, 0, 0]]
    mean = (50 * 0.75 - 81 * 0.25) / 131
    variance = (50 * (0.75 - mean) ** 2 + 81 * (-0.25 - mean) ** 2) / 130
    expected = [(a - mean) / variance**0.5 for a in (0.75, -0.25, -0.25, -0.25)]
    assert outcome_advantages(dler, rewards, groups)[0].tolist() == pytest.approx(expected, rel=1e-5)


def test_what_the_released_code_gives_beyond_the_limit(make_groups):
    code = build_method("dler", {"limit": 50, "beyond": 0.1})
    assert code.rewards(make_groups(GROUP, unfinished=[3]))[0].tolist() == pytest.approx([1, 0.1, 0, 0.1])


def test_da_dlers_limit_goes_by_the_pass_rate(make_groups):
    easy = [(True, 20), (True, 21), (False, 5), (False, 40)]
    hard = [(True, 40), (False, 41), (False, 5), (False, 40)]
    method = build_method("da_dler", {"limit": 40, "easy_limit": 20})
    assert method.rewards(make_groups([easy, hard])).tolist() == [[1, 0, 0, 0], [1, 0, 0, 0]]


@given(
    st.lists(st.tuples(st.booleans(), st.integers(1, 60), st.booleans()), min_size=2, max_size=6),
    st.integers(1, 60),
    st.integers(1, 60),
)
def test_a_tighter_limit_never_earns_more(make_groups, responses, one, other):
    groups = make_groups(
        [(c, n) for c, n, _ in responses], unfinished=[i for i, (_, _, f) in enumerate(responses) if not f]
    )
    tight, loose = (build_method("dler", {"limit": limit}).rewards(groups) for limit in sorted((one, other)))
    assert (tight <= loose).all()
    assert (loose <= groups.correct_PG.float()).all()
    both = build_method("da_dler", {"limit": max(one, other), "easy_limit": min(one, other)}).rewards(groups)
    assert both.tolist() == (tight if groups.pass_rate_P[0] >= 0.5 else loose).tolist()


def test_published_settings():
    own = build_method("dler").settings
    assert (own.limit, own.beyond, own.advantage, own.scale_advantages, own.whiten) == (4000, 0, "grpo", False, True)
    assert build_method("da_dler").settings.easy_limit == 2000
    assert build_method("dler").response_limit(7) == 4000


def test_limits_that_cannot_be():
    build_method("dler", {"limit": 256}).check(256, 8)
    with pytest.raises(ConfigError, match=r"^limit: 257 is above the response limit of 256 tokens"):
        build_method("dler", {"limit": 257}).check(256, 8)
    with pytest.raises(ConfigError, match=r"^easy_limit: 90 is above limit, 80"):
        build_method("da_dler", {"limit": 80, "easy_limit": 90}).check(256, 8)
