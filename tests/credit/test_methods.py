from __future__ import annotations

from dataclasses import fields, replace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from attnpo.credit import METHODS, CreditSettings, GroupBatch, StepBatch, build_method, step_gamma
from attnpo.errors import ConfigError, DataError

GROUPS = GroupBatch(
    correct_PG=torch.tensor([[True, True, False]]),
    lengths_PG=torch.tensor([[100, 300, 50]]),
    finished_PG=torch.tensor([[True, True, True]]),
)
OUTCOME = [1.0, 1.0, 0.0]
SHORTER = [1 - 0.2 * 0.2689414, 1 - 0.2 * 0.7310586, 0.0]


def rows(steps: StepBatch, index: list[int]) -> StepBatch:
    changes = {
        field.name: getattr(steps, field.name)[index]
        for field in fields(steps)
        if isinstance(getattr(steps, field.name), torch.Tensor)
    }
    return replace(steps, **changes)


STEP_CREDIT = [
    "attnpo",
    "attnpo_shuffled",
    "attnpo_uniform",
    "attnpo_mean_gamma",
    "attnpo_random_steps",
    "oracle",
    "oracle_reversed",
]


def test_registry_names_match_the_classes():
    assert list(METHODS)[:10] == ["rloo", "grpo", "tlmre", *STEP_CREDIT]
    assert all(build_method(name).name == name for name in METHODS)
    needs = {name: (build_method(name).needs_scores, build_method(name).needs_labels) for name in METHODS}
    assert needs["tlmre"] == needs["rloo"] == needs["grpo"] == (False, False)
    assert needs["attnpo"] == needs["attnpo_shuffled"] == needs["attnpo_uniform"] == (True, False)
    assert needs["oracle"] == needs["oracle_reversed"] == (False, True)


def test_unknown_name_lists_the_known_ones():
    with pytest.raises(
        ConfigError, match=r"^method: 'ppo' is unknown; use one of rloo, grpo, .*oracle_reversed, .*attnpo-N-heads$"
    ):
        build_method("ppo")


@pytest.mark.parametrize("name", ["rloo", "grpo", "tlmre", *STEP_CREDIT])
def test_rewards(name):
    rewards = build_method(name).rewards(GROUPS)[0].tolist()
    assert rewards == pytest.approx(OUTCOME if name in ("rloo", "grpo") else SHORTER, abs=1e-6)


def test_advantages_follow_the_settings_unless_the_method_is_named_for_one():
    rewards_PG = torch.tensor([[1.0, 0.0]])
    rloo, grpo = [1.0, -1.0], [0.5, -0.5]
    for setting, open_choice in (("rloo", rloo), ("grpo", grpo)):
        settings = CreditSettings(advantage=setting)
        assert build_method("rloo", settings).advantages(rewards_PG)[0].tolist() == rloo
        assert build_method("grpo", settings).advantages(rewards_PG)[0].tolist() == grpo
        assert build_method("tlmre", settings).advantages(rewards_PG)[0].tolist() == open_choice
        assert build_method("attnpo", settings).advantages(rewards_PG, GROUPS)[0].tolist() == open_choice


@pytest.mark.parametrize("name", ["rloo", "grpo", "tlmre"])
def test_response_level_methods_leave_steps_alone(make_steps, name):
    assert torch.equal(build_method(name).gamma(make_steps([[0.0, 0.5, 0.1]])), torch.ones(1, 3))


# p = 1/2 and |F| / |o| = 1/8: S_base = 1/32 and delta = 3/4.
LABELS = [[1, 2, 0]]


def test_attnpo_uses_the_scores(make_steps):
    assert build_method("attnpo").gamma(make_steps([[0.5, 0.0, 1 / 32]], labels=LABELS)).tolist() == [[1, 0.75, 1]]


@pytest.mark.parametrize(
    ("name", "advantage", "expected"),
    [
        ("oracle", 1.0, [1, 0.75, 1]),
        ("oracle", -1.0, [0, 1, 1]),
        ("oracle_reversed", 1.0, [0.75, 1, 1]),
        ("oracle_reversed", -1.0, [1, 0, 1]),
    ],
)
def test_oracles_read_labels_not_scores(make_steps, name, advantage, expected):
    for scores in ([0.0, 0.0, 0.0], [9.0, 9.0, 9.0], [float("nan")] * 3):
        steps = make_steps([scores], labels=LABELS, advantage=advantage)
        assert build_method(name).gamma(steps).tolist() == [expected]
    # the schedule and the other rules hold for the truth as they do for scores
    assert build_method(name).gamma(make_steps([[0.0]], labels=[[2]], advantage=advantage)).tolist() == [[1]]
    early = build_method(name).gamma(make_steps([[0.0] * 3], labels=LABELS, advantage=advantage, t=500))
    assert early.tolist() == [[1, 1, 1] if advantage > 0 else expected]


@pytest.mark.parametrize("advantage", [1.0, -1.0])
@pytest.mark.parametrize("pass_rate", [1 / 3, 0.7, 1.0])
def test_undecided_steps_are_exactly_at_the_baseline(make_steps, advantage, pass_rate):
    steps = make_steps([[0.0] * 3] * 5, labels=[[0] * 3] * 5, response=[3, 7, 97, 131, 999], answer=3,
                       advantage=advantage, pass_rate=pass_rate)  # fmt: skip
    assert torch.equal(build_method("oracle").gamma(steps), torch.ones(5, 3))


@pytest.mark.parametrize("name", ["oracle", "oracle_reversed"])
def test_oracles_need_labels(make_steps, name):
    with pytest.raises(DataError, match=f"^method {name}: the steps carry no labels"):
        build_method(name).gamma(make_steps([[0.1, 0.2]]))


def shuffled(steps, seed=0):
    return build_method("attnpo_shuffled", CreditSettings(seed=seed)).step_scores(steps)


def test_shuffled_scores_are_a_permutation_of_the_responses_own(make_steps):
    scores = [[0.1, 0.2, 0.3, 0.4, 0.5], [0.6, 0.7], [0.8], []]
    result = shuffled(make_steps(scores))
    for row, own in enumerate(scores):
        assert sorted(result[row, : len(own)].tolist()) == pytest.approx(sorted(own))


def test_shuffled_gamma_is_attnpo_on_the_permuted_scores(make_steps):
    steps = make_steps([[0.0, 0.01, 0.02, 0.5, 0.6]] * 4, advantage=[1.0, 1.0, -1.0, -1.0])
    expected = step_gamma(shuffled(steps), steps, CreditSettings())
    result = build_method("attnpo_shuffled").gamma(steps)
    assert torch.equal(result, expected)
    assert not torch.equal(result, build_method("attnpo").gamma(steps))


def test_steps_without_tokens_take_no_part_in_shuffling(make_steps):
    for row_id in range(20):
        steps = make_steps([[0.1, 0.9, 0.2]], step_lengths=[[4, 0, 4]], row_ids=[row_id])
        assert sorted(shuffled(steps)[0, [0, 2]].tolist()) == pytest.approx([0.1, 0.2])


def test_every_permutation_is_about_equally_likely(make_steps):
    count = 3000
    steps = make_steps([[0.0, 1.0, 2.0]] * count)
    seen: dict[tuple[float, ...], int] = {}
    for row in shuffled(steps).tolist():
        seen[tuple(row)] = seen.get(tuple(row), 0) + 1
    # 500 of each of the six expected, standard deviation 20
    assert len(seen) == 6
    assert all(400 < times < 600 for times in seen.values())


def test_seed_and_row_decide_the_permutation(make_steps):
    steps = make_steps([[float(k) for k in range(8)]] * 2, row_ids=[5, 5])
    first, second = shuffled(steps).tolist()
    assert first == second
    assert shuffled(steps, seed=1)[0].tolist() != first
    other = make_steps([[float(k) for k in range(8)]], row_ids=[6])
    assert shuffled(other)[0].tolist() != first
    # fixed for good: a run resumed elsewhere draws the same
    assert shuffled(make_steps([[0.0, 1.0, 2.0, 3.0]], row_ids=[7]))[0].tolist() == [3, 1, 2, 0]


@given(st.lists(st.lists(st.floats(0, 1, width=32), max_size=6), min_size=1, max_size=8), st.integers(0, 3), st.data())
def test_shuffling_does_not_depend_on_micro_batches(make_steps, scores, extra, data):
    ids = data.draw(st.lists(st.integers(0, 2**62), min_size=len(scores), max_size=len(scores), unique=True))
    advantages = data.draw(st.lists(st.sampled_from([1.0, -1.0]), min_size=len(scores), max_size=len(scores)))
    method = build_method("attnpo_shuffled")
    whole = make_steps(scores, row_ids=ids, advantage=advantages)
    together = method.gamma(whole)
    order = data.draw(st.permutations(range(len(scores))))
    cut = data.draw(st.integers(0, len(scores)))
    for part in (order[:cut], order[cut:]):
        torch.testing.assert_close(method.gamma(rows(whole, part)), together[part])
    for row, own in enumerate(scores):
        alone = make_steps([own], row_ids=[ids[row]], advantage=[advantages[row]], width=len(own) + extra)
        torch.testing.assert_close(method.gamma(alone)[0, : len(own)], together[row, : len(own)])
