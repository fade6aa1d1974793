from __future__ import annotations

from dataclasses import replace

import pytest

from attnpo.credit import build_method
from attnpo.errors import DataError

# correct and short; correct and long; wrong and short; wrong and long; the same going in circles; the same cut off
GROUP = [(True, 20), (True, 60), (False, 20), (False, 60), (False, 60), (False, 60)]


def method(**settings):
    laser = build_method("laser_de", {"grid_start": 10, "grid_step": 10, **settings})
    # 2 correct of 6 is the medium tier: target 40
    laser.load_state_dict({**laser.state_dict(), "targets": [None, 40, None], "next_choice": 99})
    return laser


def test_worked_example(make_groups):
    groups = make_groups(GROUP, limit=100, repetitive=[1, 4], unanswered=[5])
    # 1 + 0.5; 1; -0.5; -0.5 + 0.5; -0.5; -1: a response without an answer gets no bonus however long
    assert method().rewards(groups).tolist() == [[1.5, 1.0, -0.5, 0.0, -0.5, -1.0]]


def test_it_is_laser_d_but_for_wrong_explorers(make_groups):
    groups = make_groups(GROUP, limit=100)
    plain = build_method("laser_d", {"grid_start": 10, "grid_step": 10})
    plain.load_state_dict(method().state_dict())
    assert (method().rewards(groups) - plain.rewards(groups)).tolist() == [[0, 0, 0, 0.5, 0.5, 0.5]]


def test_a_wrong_response_of_just_the_target_earns_nothing(make_groups):
    groups = make_groups([(True, 1), (False, 40), (False, 41)], limit=100)
    assert method().rewards(groups)[0, 1:].tolist() == [-0.5, 0.0]


def test_repetition_must_be_known(make_groups):
    groups = replace(make_groups(GROUP, limit=100), facts={})
    with pytest.raises(DataError, match=r"^method laser_de: needs what response repeats itself"):
        method().rewards(groups)
