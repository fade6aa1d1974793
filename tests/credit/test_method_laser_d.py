from __future__ import annotations

import json
from dataclasses import replace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from attnpo.credit import GroupBatch, build_method
from attnpo.credit.methods.laser_d import TIERS, tiers
from attnpo.errors import ConfigError, DataError

GRID = {"grid_start": 10, "grid_step": 10, "monitor_steps": 20}
LIMIT = 50


def group(correct: int, lengths: list[int]) -> list[tuple[bool, int]]:
    return [(i < correct, length) for i, length in enumerate(lengths)]


# G = 6: a high group has at least floor(2 * 6 / 3) = 4 correct ones, a medium one floor(6 / 3) = 2.
HIGH = group(6, [5, 15, 15, 25, 35, 45])  # 1/6 within 10: 4/6 < 1; 3/6 within 20: 12/6 >= 1           -> 20
MEDIUM = group(2, [10, 20, 30, 40, 50, 50])  # 2/6 within 20: 4/6 < 1; 3/6 within 30: 6/6 >= 1         -> 30
LOW = group(1, [5, 5, 5, 5, 5, 33])  # every response must be covered: 5/6 within 30, 6/6 within 40   -> 40


def method(**settings):
    return build_method("laser_d", {**GRID, **settings})


def test_worked_example(make_groups):
    laser, groups = method(), make_groups([LOW, MEDIUM, HIGH], limit=LIMIT)
    laser.observe(groups)
    assert laser.state.targets == (40, 30, 20)
    assert laser.metrics() == {"target_length/low": 40, "target_length/medium": 30, "target_length/high": 20}
    assert laser.target_lengths(groups).tolist() == [[40], [30], [20]]
    assert laser.rewards(groups).tolist() == [
        [1.5, -0.5, -0.5, -0.5, -0.5, -0.5],
        [1.5, 1.5, -0.5, -0.5, -0.5, -0.5],
        [1.5, 1.5, 1.5, 1.0, 1.0, 1.0],
    ]


def test_targets_are_chosen_every_monitor_steps_from_what_was_seen_since(make_groups):
    laser = method()
    laser.observe(make_groups([HIGH], limit=LIMIT))
    assert laser.state.targets == (None, None, 20)  # nothing seen of the other tiers: the response limit
    quick, slow = group(6, [5] * 6), group(6, [50] * 6)
    for step in range(1, 20):
        laser.observe(make_groups([slow], t=step, limit=LIMIT))
        assert laser.state.targets == (None, None, 20)
    # 5 quick groups of 24 since the choice: 5/24 within 10, times 4 is below 1; 50 covers all
    laser.observe(make_groups([quick] * 5, t=20, limit=LIMIT))
    assert laser.state.targets == (None, None, 50)
    assert laser.state.next_choice == 40
    # the slow ones are forgotten: one quick group is all that was seen since
    laser.observe(make_groups([quick], t=40, limit=LIMIT))
    assert laser.state.targets == (None, None, 10)


def test_several_generation_batches_of_a_step_choose_once(make_groups):
    laser = method()
    laser.observe(make_groups([HIGH], limit=LIMIT))
    laser.observe(make_groups([group(6, [5] * 6)], limit=LIMIT))
    assert laser.state.targets == (None, None, 20)
    assert laser.state.responses == (0, 0, 6)


def test_a_resumed_run_goes_on_with_the_same_state(make_groups):
    def play(laser, steps):
        for step in steps:
            laser.observe(make_groups([LOW, MEDIUM, group(6, [step] * 6)], t=step, limit=LIMIT))
        return laser.state

    whole = play(method(), range(45))
    first = method()
    play(first, range(27))
    saved = json.loads(json.dumps(first.state_dict()))
    second = method()
    second.load_state_dict(saved)
    assert second.state == first.state
    assert play(second, range(27, 45)) == whole
    assert first.state != whole


def test_another_grid_than_the_checkpoints_is_refused(make_groups):
    laser = method()
    laser.observe(make_groups([HIGH], limit=LIMIT))
    laser.observe(make_groups([HIGH], t=1, limit=LIMIT))
    other = method(grid_step=5)
    other.load_state_dict(laser.state_dict())
    with pytest.raises(ConfigError, match=r"^method laser_d: the checkpoint counted on other target lengths"):
        other.observe(make_groups([HIGH], t=2, limit=LIMIT))


def test_before_any_choice_the_target_is_the_response_limit(make_groups):
    groups = make_groups([HIGH], limit=LIMIT)
    assert method().rewards(groups).tolist() == build_method("laser", {"target_length": LIMIT}).rewards(groups).tolist()


def test_the_response_limit_must_be_known(make_groups):
    with pytest.raises(DataError, match=r"^method laser_d: needs the response limit"):
        method().observe(make_groups([HIGH]))


@pytest.mark.parametrize(
    ("correct", "size", "tier"),
    [(0, 3, 0), (1, 3, 1), (2, 3, 2), (2, 8, 0), (3, 8, 1), (5, 8, 1), (6, 8, 2), (1, 1, 2), (2, 6, 1), (4, 6, 2)],
)
def test_tiers_have_exact_borders(correct, size, tier):
    assert tiers(torch.tensor([[i < correct for i in range(size)]])).tolist() == [tier]
    assert len(TIERS) == 3


@pytest.mark.parametrize(("field", "value"), [("grid_start", 0), ("grid_step", -1), ("monitor_steps", 0)])
def test_values_out_of_range(field, value):
    with pytest.raises(ConfigError, match=f"^{field}: {value} is not allowed"):
        method(**{field: value})


def test_a_grid_above_the_response_limit_is_refused():
    with pytest.raises(ConfigError, match=r"^grid_start: 10 is above the response limit of 9 tokens"):
        method().check(9, 8)


def brute_force(groups: list[list[tuple[bool, int]]], limit: int) -> tuple[int | None, ...]:
    """The official rule, response by response."""
    size = len(groups[0])
    chosen = []
    for tier, least in enumerate((1, size // 3, 2 * size // 3)):
        rows = [
            g for g in groups if (3 * sum(c for c, _ in g) >= size) + (3 * sum(c for c, _ in g) >= 2 * size) == tier
        ]
        lengths = [length for g in rows for _, length in g]
        fits = [
            min(target, limit)
            for target in range(10, limit + 10, 10)
            if lengths and sum(n <= target for n in lengths) * least / len(lengths) >= 1
        ]
        chosen.append(min(fits) if fits else None)
    return tuple(chosen)


@given(st.data())
def test_agrees_with_brute_force_however_groups_are_batched(data):
    size = data.draw(st.integers(1, 7))
    response = st.tuples(st.booleans(), st.integers(1, 47))
    groups = data.draw(st.lists(st.lists(response, min_size=size, max_size=size), min_size=1, max_size=6))
    whole = GroupBatch(
        torch.tensor([[c for c, _ in g] for g in groups]),
        torch.tensor([[n for _, n in g] for g in groups]),
        torch.ones(len(groups), size, dtype=torch.bool),
        progress_step=20,
        max_length=47,
    )
    cut = data.draw(st.integers(0, len(groups)))
    part = {name: getattr(whole, name) for name in ("correct_PG", "lengths_PG", "finished_PG")}
    together, apart = method(), method()
    for laser in (together, apart):  # the first choice is over
        laser.load_state_dict({**laser.state_dict(), "next_choice": 20})
    together.observe(whole)
    if cut:
        apart.observe(replace(whole, progress_step=19, **{name: value[:cut] for name, value in part.items()}))
    apart.observe(replace(whole, **{name: value[cut:] for name, value in part.items()}))
    assert together.state.targets == apart.state.targets == brute_force(groups, 47)
