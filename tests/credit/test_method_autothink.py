from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from attnpo.credit import GroupBatch, build_method, grpo_advantages
from attnpo.errors import ConfigError, DataError

STAGES = {"stage_2_from": 10, "stage_3_from": 20}
# Thinking: right and wrong; without: right and wrong.
FOUR = [(True, 80), (False, 100), (True, 20), (False, 10)]


def rewards(groups, **settings):
    return build_method("autothink", {**STAGES, **settings}).rewards(groups)


def test_stages_begin_at_their_steps():
    method = build_method("autothink", STAGES)
    assert [method.stage(t) for t in (0, 9, 10, 19, 20, 10**6)] == [1, 1, 2, 2, 3, 3]
    none = build_method("autothink", {"stage_2_from": 0, "stage_3_from": 0})
    assert none.stage(0) == 3


def test_stage_2_is_the_reward_by_mode(make_groups):
    groups = make_groups(FOUR, no_think=[2, 3], t=10)
    assert rewards(groups)[0].tolist() == [1, 0, 2, -1]
    own = {"think_correct": 3, "think_wrong": 0.5, "no_think_correct": 5, "no_think_wrong": -4}
    assert rewards(groups, **own)[0].tolist() == [3, 0.5, 5, -4]


def test_stage_1_leaves_a_balanced_batch_alone(make_groups):
    assert rewards(make_groups(FOUR, no_think=[2, 3], t=0))[0].tolist() == [1, 0, 2, -1]


@pytest.mark.parametrize(
    ("no_think", "expected"),
    [
        # 3 of 4 think: u = 2 (3/4 - 1/2) = 1/2 for them, 0 for the other
        ([3], [0.5, -0.5, 0.5, -1]),
        # 3 of 4 do not: half way to +1 / -2
        ([1, 2, 3], [1, -1.5, 1.5, -1.5]),
        # all think: u = 1, so 0 / -1
        ([], [0, -1, 0, -1]),
        # none does: +1 / -2
        ([0, 1, 2, 3], [1, -2, 1, -2]),
    ],
)
def test_stage_1_punishes_the_mode_that_prevails(make_groups, no_think, expected):
    assert rewards(make_groups(FOUR, no_think=no_think, t=9))[0].tolist() == expected


def test_the_share_is_that_of_the_whole_batch(make_groups):
    groups = make_groups([[(True, 10), (False, 10)], [(True, 10), (False, 10)]], no_think=[0])
    modes_PG = torch.tensor([[True, False], [False, False]])
    groups = type(groups)(**{**vars(groups), "facts": {"no_think": modes_PG}})
    # 3 of 4 think
    assert rewards(groups).tolist() == [[2, -0.5], [0.5, -0.5]]


def test_the_published_form_of_stage_1(make_groups):
    # (1 - u) r + u target, targets: thinking 0 / -1, without +1 / -2 (official code)
    responses = [(True, 5), (False, 5), (True, 5), (False, 5), (True, 5)]
    groups = make_groups(responses, no_think=[0, 1])
    u = 2 * (3 / 5 - 1 / 2)
    thinking = [(1 - u) * 1 + u * 0, (1 - u) * 0 + u * -1]
    assert rewards(groups)[0].tolist() == pytest.approx([2, -1, thinking[0], thinking[1], thinking[0]])


def test_slope_and_balance_are_settings(make_groups):
    groups = make_groups(FOUR, no_think=[3])
    assert rewards(groups, balance=0.75)[0].tolist() == [1, 0, 2 - 1, -1]
    assert rewards(groups, balance_slope=1)[0].tolist() == [0.75, -0.25, 0.75, -1]
    assert rewards(groups, balance_slope=100)[0].tolist() == [0, -1, 0, -1]


def test_stage_3_worked_example(make_groups):
    # Correct: 20 and 80 tokens, mean 50, z = -1 and 1. Incorrect: 10 and 100, mean 55, z = -1 and 1.
    groups = make_groups(FOUR, no_think=[2, 3], t=20)
    shorter, longer = math.exp(0.05) - 1, math.exp(-0.05) - 1
    expected = [1 + longer, 0 - longer, 2 + shorter, -1 - shorter]
    assert rewards(groups)[0].tolist() == pytest.approx(expected)
    assert rewards(groups, alpha=0, beta=0)[0].tolist() == [1, 0, 2, -1]
    assert rewards(groups, alpha=0)[0].tolist() == pytest.approx([1, expected[1], 2, expected[3]])


def test_stage_3_says_nothing_of_a_single_response_of_its_kind(make_groups):
    groups = make_groups([(True, 80), (False, 10), (False, 30)], t=20)
    one, short, long = rewards(groups)[0].tolist()
    assert one == 1
    assert short == pytest.approx(1 - math.exp(0.05))
    assert long == pytest.approx(1 - math.exp(-0.05))


def test_the_advantage_is_grpos(make_groups):
    method = build_method("autothink", STAGES)
    groups = make_groups(FOUR, no_think=[2, 3], t=10)
    rewards_PG = method.rewards(groups)
    expected = grpo_advantages(rewards_PG) / (rewards_PG.std(dim=1, keepdim=True) + 1e-4)
    torch.testing.assert_close(method.advantages(rewards_PG, groups), expected)


def test_the_opening_stands_behind_the_prompt():
    prompt = [{"role": "user", "content": "1 + 1?"}]
    ask = build_method("autothink").ask(prompt, 0, 0, 0)
    assert (ask.prompt, ask.opening) == (prompt, "...\n")
    assert build_method("autothink", {"opening": "Thus\n"}).ask("1 + 1?", 0, 0, 0).opening == "Thus\n"


def test_the_modes_must_be_known(make_groups):
    groups = make_groups(FOUR)
    with pytest.raises(DataError, match=r"^method autothink: needs the modes of the responses"):
        rewards(type(groups)(**{**vars(groups), "facts": {}}))


@pytest.mark.parametrize(
    ("field", "value"), [("stage_2_from", 21), ("stage_3_from", -1), ("balance", 2), ("alpha", -1), ("opening", None)]
)
def test_values_out_of_range(field, value):
    with pytest.raises(ConfigError, match=f"^{field}: {value!r} is not allowed"):
        build_method("autothink", {**STAGES, field: value})


@st.composite
def batches(draw):
    groups, size = draw(st.integers(1, 3)), draw(st.integers(1, 6))
    mask = st.lists(st.booleans(), min_size=groups * size, max_size=groups * size)
    lengths = draw(st.lists(st.integers(1, 500), min_size=groups * size, max_size=groups * size))
    shape = (groups, size)
    return GroupBatch(
        correct_PG=torch.tensor(draw(mask)).reshape(shape),
        lengths_PG=torch.tensor(lengths).reshape(shape),
        finished_PG=torch.ones(shape, dtype=torch.bool),
        progress_step=draw(st.integers(0, 30)),
        facts={"no_think": torch.tensor(draw(mask)).reshape(shape)},
    )


@given(batches())
def test_correct_pays_more_than_incorrect_in_the_same_mode(groups):
    # in every stage: groups of 6 have |z| < sqrt(5), so that length moves a reward by less than 1/2
    rewards_PG = rewards(groups)
    for no_think in (True, False):
        mode_PG = groups.facts["no_think"] == no_think
        right, wrong = rewards_PG[mode_PG & groups.correct_PG], rewards_PG[mode_PG & ~groups.correct_PG]
        if len(right) and len(wrong):
            assert right.min() > wrong.max()


@given(batches())
def test_stage_1_never_punishes_both_modes(groups):
    method = build_method("autothink", STAGES)
    u_PG = method.imbalance(groups)
    assert ((u_PG >= 0) & (u_PG <= 1)).all()
    thinking, answering = u_PG[~groups.facts["no_think"]], u_PG[groups.facts["no_think"]]
    assert not (thinking.any() and answering.any())
