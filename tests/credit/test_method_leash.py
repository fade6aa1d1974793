from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from attnpo.credit import build_method
from attnpo.errors import ConfigError


def test_worked_example(make_groups):
    # price 0.1; 1.5 and 3 times the target cost 0.05 and 0.2; a wrong one is at the floor already
    leash = build_method("leash", {"target_length": 100})
    groups = make_groups([(True, 100), (True, 150), (True, 300), (False, 300)])
    leash.observe(groups)
    assert leash.rewards(groups)[0].tolist() == pytest.approx([1, 0.95, 0.8, -1])
    assert leash.metrics() == {"length_price": 0.1}
    # mean 212.5: lambda gains 0.005 * 1.125 for the next batch, and loses 0.005 * 0.8 after one of mean 20
    leash.observe(make_groups([(True, 20), (False, 20)]))
    assert leash.price == pytest.approx(0.1 + 0.005 * 1.125)
    leash.observe(groups)
    assert leash.price == pytest.approx(0.1 + 0.005 * (1.125 - 0.8))


lengths = st.lists(st.integers(1, 1000), min_size=1, max_size=12)


@given(lengths, st.integers(1, 500), st.floats(0, 1), st.floats(0, 2))
def test_the_price_against_a_loop_and_through_a_checkpoint(make_groups, means, target, rate, greatest):
    leash = build_method("leash", {"target_length": target, "price_rate": rate, "greatest_price": greatest})
    price = 0.1
    for mean in means:
        groups = make_groups([(True, mean), (False, mean)])
        leash.observe(groups)
        assert leash.price == pytest.approx(price)
        assert all(-1 <= reward <= 1 for reward in leash.rewards(groups)[0].tolist())
        price = min(max(price + rate * (mean / target - 1), 0), greatest)
        resumed = build_method("leash", {"target_length": target, "price_rate": rate, "greatest_price": greatest})
        resumed.load_state_dict(json.loads(json.dumps(leash.state_dict())))
        leash = resumed


def test_a_target_that_no_response_exceeds_is_refused():
    build_method("leash", {"target_length": 99}).check(100, 8)
    with pytest.raises(ConfigError, match=r"^target_length: 4096 is not below the response limit of 4096 tokens"):
        build_method("leash").check(4096, 8)
