"""Split credit: by hand, against TLMRE, and its expectation on a policy whose every group can be listed."""

from __future__ import annotations

import itertools
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import example, given
from hypothesis import strategies as st

from attnpo.credit import REDUNDANT, GroupBatch, build_method, tlmre_rewards
from attnpo.credit.advantages import advantage_scale, group_advantages, rloo_advantages
from attnpo.credit.replay import replay
from attnpo.errors import ConfigError, DataError
from attnpo.rollouts import Rollout, Step

SPLIT = "benchmarks.hypotheses.split:SplitCredit"
ORACLE = "benchmarks.hypotheses.split:SplitOracle"


def response(sample: int, correct: bool, steps: list[tuple[int, str]], answer: int = 2) -> Rollout:
    """Steps of the given tokens and labels, the first at token 0, then the answer."""
    ends = list(itertools.accumulate(tokens for tokens, _ in steps)) or [0]
    spans = [Step((0, 0), (end - n, end), label=label) for end, (n, label) in zip(ends, steps, strict=False)]
    length = ends[-1] + answer
    rollout = Rollout("p", "?", "1", sample, tuple(range(length)), "", True, correct, steps=tuple(spans))
    return replace(rollout, answer_tokens=(ends[-1], length))


GROUP = [
    response(0, True, [(4, "essential"), (2, "redundant")]),
    response(1, False, [(2, "essential"), (6, "redundant")]),
    response(2, True, [(2, "essential"), (2, "undecided")]),
]
SCORES = [np.array([0.5, 0.05]), np.array([0.1, 0.0]), np.array([0.4, 0.4])]


def test_by_hand():
    # S_base without pass rate: 2/8, 2/10, 2/6; supports 1 and 0.2, 0.5 and 0, 1 and 1. RLOO of 1, 0, 1: 0.5, -1, 0.5.
    # Lengths 8, 10, 6 at 0.1 a token: the first has 8 to come against 10 and 6, at token 7 one against 3 and none.
    settings = {"difficulty_baseline": False, "alpha_len": 0.0, "token_price": 0.1}
    found = replay(build_method(SPLIT, settings), GROUP, 3, scores=SCORES)
    torch.testing.assert_close(found.gamma_BK, torch.tensor([[1, 0.2], [0.5, 0], [1, 1]]))
    assert found.rewards_PG[0].tolist() == pytest.approx([0.2, -1.0, 0.4])
    first, second, third = (row.tolist() for row in found.advantages_BT)
    assert first[:8] == pytest.approx([0.5] * 4 + [0.1] * 2 + [0.5, 0.55])
    assert second == pytest.approx([-0.8] * 2 + [-0.3] * 4 + [-0.3, -0.25, -1.2, -1.1])
    assert third[:6] == pytest.approx([0.5 + 0.3] * 6)
    assert not any(first[8:] + third[6:])


def test_labels_in_place_of_scores():
    # Redundant tokens 2, 6, 0, Eq. 3 among the right ones: z = 1 and -1 there, whatever the lengths are.
    settings = {"mask_verdict": False, "to_go": False, "pressure": "redundant"}
    found = replay(build_method(ORACLE, settings), GROUP, 3)
    sigmoid = 1 / (1 + np.exp(-1.0))
    rewards = torch.tensor([[1 - 0.2 * sigmoid, 0, 1 - 0.2 * (1 - sigmoid)]], dtype=torch.float32)
    torch.testing.assert_close(found.rewards_PG, rewards)
    assert (found.gamma_BK == 1).all()
    for row, advantage in enumerate(rloo_advantages(rewards)[0].tolist()):
        tokens = GROUP[row].n_tokens
        assert found.advantages_BT[row, :tokens].tolist() == pytest.approx([advantage] * tokens, abs=1e-6)


def test_to_skip_an_essential_step_earns_nothing():
    shorter = replace(response(2, True, [(2, "redundant")]), problem_id="q")
    group = [GROUP[0], GROUP[2], response(3, True, [(1, "essential"), (2, "redundant")]), shorter]
    settings = {"mask_verdict": False, "to_go": False, "pressure": "redundant"}
    rewards = replay(build_method(ORACLE, settings), group, 4).rewards_PG[0]
    assert rewards[0] == rewards[2] == rewards[3] < rewards[1]


def test_hard_support_and_soft_pressure():
    method = build_method(SPLIT, {"graded": False, "pressure": "redundant", "difficulty_baseline": False})
    hard = replay(method, GROUP, 3, scores=SCORES)
    assert hard.gamma_BK.tolist() == [[1, 0], [0, 0], [1, 1]]
    soft = build_method(SPLIT, {"pressure": "redundant", "difficulty_baseline": False, "gamma_floor": 0.1})
    found = replay(soft, GROUP, 3, scores=SCORES)
    torch.testing.assert_close(found.gamma_BK, torch.tensor([[1, 0.2], [0.5, 0.1], [1, 1]]))
    assert soft._amounts(found.groups)[0].tolist() == pytest.approx([1.6, 1 + 5.4, 0])


def test_a_response_without_an_answer_pays_for_all_that_it_thought():
    # Supports 1 and 0.2, 0.5 and 0; the third was cut in its thought.
    group = [*GROUP[:2], response(2, False, [(5, "undecided"), (7, "undecided")], answer=0)]
    settings = {"pressure": "redundant", "difficulty_baseline": False, "alpha_len": 0.0, "token_price": 0.1}
    found = replay(build_method(SPLIT, settings), group, 3, scores=[*SCORES[:2], np.array([0.0, 0.0])])
    assert found.rewards_PG[0].tolist() == pytest.approx([1 - 0.16, -0.7, -1.2])
    # 12 tokens to come at the first one, against 1.6 and 7; a wrong answer's own -0.5 on every token
    assert float(found.advantages_BT[2, 0]) == pytest.approx(-0.5 - 1.2 + 0.43)
    # labels need no answer
    labelled = replay(build_method(ORACLE, {"pressure": "redundant", "token_price": 0.1}), group, 3)
    assert float(labelled.rewards_PG[0, 2]) == 0


def test_what_is_missing_is_named(make_groups, make_steps):
    with pytest.raises(ConfigError, match=r"^whiten: split credit"):
        build_method(SPLIT, {"whiten": True})
    groups = make_groups([(True, 5), (False, 3)])
    with pytest.raises(DataError, match=r"^method split: needs steps"):
        build_method(SPLIT, {"pressure": "redundant"}).rewards(groups)
    with pytest.raises(DataError, match=r"^method split_oracle: needs step labels"):
        build_method(ORACLE).gamma(make_steps([[0.1, 0.2]]))
    method = build_method(SPLIT)
    steps = make_steps([[0.1, 0.2]])
    with pytest.raises(DataError, match=r"^method split: needs its parts"):
        method.spread(steps, method.gamma(steps), torch.zeros(1, 3, dtype=torch.long))


@st.composite
def verified_groups(draw):
    size = draw(st.integers(1, 5))
    kinds = st.sampled_from(["essential", "redundant", "undecided"])
    steps = st.lists(st.tuples(st.integers(0, 4), kinds), max_size=4)
    return [response(i, draw(st.booleans()), draw(steps), draw(st.integers(0, 3)) + 1) for i in range(size)]


@example([response(i, True, [], i + 1) for i in range(2)], "rloo", True, 2e-6)  # rewards that differ by their rounding
@given(verified_groups(), st.sampled_from(["rloo", "grpo"]), st.booleans(), st.floats(0, 1))
def test_undivided_it_is_tlmre(group, advantage, scale, alpha_len):
    settings = {"advantage": advantage, "scale_advantages": scale, "alpha_len": alpha_len}
    off = {"mask_verdict": False, "to_go": False}
    found = replay(build_method(SPLIT, settings | off), group, len(group))
    expected = replay(build_method("tlmre", settings), group, len(group))
    torch.testing.assert_close(found.rewards_PG, expected.rewards_PG)
    # tlmre divides what float32 left of its rewards
    rounding = 2 * torch.finfo(torch.float32).eps / float(advantage_scale(expected.rewards_PG).min()) if scale else 0.0
    torch.testing.assert_close(found.advantages_BT, expected.advantages_BT, atol=2e-5 + rounding, rtol=1e-4)


@given(verified_groups(), st.sampled_from(["length", "redundant"]), st.booleans(), st.sampled_from([-1, 0, 0.25, 1]))
def test_the_parts_add_up_at_the_first_token(group, pressure, scale, more):
    """There everything is still to come; another reward function counts as the verdict does."""
    settings = {"pressure": pressure, "token_price": 0.05, "scale_advantages": scale}
    method = build_method(ORACLE, settings)
    groups = replay(method, group, len(group)).groups
    rewards = method.rewards(groups) + more * torch.arange(len(group))[None]
    facts = method.group_facts(rewards, groups)
    total = group_advantages(rewards, "rloo", scale)
    torch.testing.assert_close(
        facts["verdict_advantage"] + facts["length_advantage"][:, :, 0], total, atol=2e-4, rtol=1e-4
    )


@given(verified_groups(), st.sampled_from(["length", "redundant"]), st.permutations(range(5)))
def test_the_order_of_a_group_does_not_matter(group, pressure, order):
    order = [place for place in order if place < len(group)]
    method = build_method(ORACLE, {"pressure": pressure})
    plain = replay(method, group, len(group)).advantages_BT
    permuted = replay(method, [group[place] for place in order], len(group)).advantages_BT
    torch.testing.assert_close(permuted, plain[order], atol=1e-6, rtol=1e-5)


@given(verified_groups())
def test_redundant_steps_get_nothing_of_the_verdict(group):
    found = replay(build_method(ORACLE, {"alpha_len": 0.0}), group, len(group))
    redundant = found.steps.labels_BK == REDUNDANT
    inside = found.step_index_BT >= 0
    step = found.step_index_BT.clamp(min=0)
    mine = inside & redundant.gather(1, step)
    assert not found.advantages_BT[mine].any()
    plain = replay(build_method("rloo"), group, len(group)).advantages_BT
    assert torch.equal(found.advantages_BT[~mine], plain[~mine])


def test_eq_3_can_be_switched_off(make_groups):
    groups = make_groups([(True, 5), (False, 3)])
    assert torch.equal(build_method(SPLIT, {"alpha_len": 0.0}).rewards(groups), torch.tensor([[1.0, 0.0]]))
    torch.testing.assert_close(
        build_method(SPLIT).rewards(groups), tlmre_rewards(groups.correct_PG, groups.lengths_PG, 0.2)
    )


# A policy of three moves at three places: an essential step, a redundant one, the answer; after two steps it answers.

MOVES = "erF"
PREFIXES = ("", "e", "r")
TRACES = ("F", "eF", "rF", "eeF", "erF", "reF", "rrF")
RIGHT = {"eF", "eeF", "reF"}  # a redundant step behind the essential one spoils it
SIZE = 3
PRICE = 0.15


def policy() -> np.ndarray:
    """(prefix, move) probabilities."""
    logits = np.random.default_rng(5).normal(size=(len(PREFIXES), len(MOVES)))
    return np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)


def scores_of_moves(trace: str) -> np.ndarray:
    """(T, 9) gradient of each token's log-probability by the logits; 0 for the answer that is forced."""
    found = np.zeros((len(trace), len(PREFIXES), len(MOVES)))
    for place, move in enumerate(trace[:2]):
        row = PREFIXES.index(trace[:place])
        found[place, row] = -policy()[row]
        found[place, row, MOVES.index(move)] += 1
    return found.reshape(len(trace), -1)


def probability(trace: str) -> float:
    moves = enumerate(trace[:2])
    return float(np.prod([policy()[PREFIXES.index(trace[:place]), MOVES.index(move)] for place, move in moves]))


def gradient(reward) -> np.ndarray:
    """Of the expected reward of a response."""
    return sum(probability(t) * reward(t) * scores_of_moves(t).sum(axis=0) for t in TRACES)


def estimate(**settings) -> tuple[np.ndarray, float]:
    """Return expectation and noise of the gradient that the method makes of a group, over all groups there are."""
    labels = {"e": "essential", "r": "redundant"}
    groups = list(itertools.product(TRACES, repeat=SIZE))
    rollouts = [
        replace(response(i, t in RIGHT, [(1, labels[move]) for move in t[:-1]], answer=1), problem_id=str(number))
        for number, group in enumerate(groups)
        for i, t in enumerate(group)
    ]
    method = build_method(ORACLE, {"alpha_len": 0.0, **settings})
    advantages = replay(method, rollouts, SIZE).advantages_BT.double().numpy()
    moves = {trace: scores_of_moves(trace) for trace in TRACES}
    weights = np.array([np.prod([probability(t) for t in group]) for group in groups])
    assert weights.sum() == pytest.approx(1)
    found = np.array(
        [
            sum(advantages[SIZE * number + i, : len(t)] @ moves[t] for i, t in enumerate(group)) / SIZE
            for number, group in enumerate(groups)
        ]
    )
    mean = weights @ found
    return mean, float(weights @ (found**2).sum(axis=1) - mean @ mean)


@pytest.mark.parametrize("pressure", ["length", "redundant"])
def test_to_go_keeps_the_expectation_and_lowers_the_noise(pressure):
    settings = {"mask_verdict": False, "pressure": pressure, "token_price": PRICE}
    whole, noise = estimate(**settings, to_go=False)
    ahead, less_noise = estimate(**settings, to_go=True)
    counted = len if pressure == "length" else (lambda trace: trace.count("r"))
    exact = gradient(lambda trace: float(trace in RIGHT) - PRICE * counted(trace))
    np.testing.assert_allclose(whole, exact, atol=1e-6)
    np.testing.assert_allclose(ahead, exact, atol=1e-6)
    assert less_noise < noise


def test_the_mask_keeps_the_verdicts_gradient_where_no_redundant_step_spoils_an_answer():
    masked, _ = estimate(mask_verdict=True, to_go=False)
    exact = gradient(lambda trace: float(trace in RIGHT))
    moved = [MOVES.index("r") + 3 * row for row in range(3)]
    assert np.abs(masked - exact).max() > 0.01  # erF is wrong because of its redundant step, which is not told
    assert np.abs(masked[moved]).max() < np.abs(exact[moved]).max() + 1


def test_groups_of_groups_are_laid_out_like_their_rows():
    # Two groups of different lengths: the facts of both are as wide as the longest, and each row keeps its own.
    other = [response(i, bool(i), [(1, "redundant")]) for i in range(3)]
    both = replay(build_method(ORACLE, {"pressure": "redundant"}), [*GROUP, *other], 3)
    alone = replay(build_method(ORACLE, {"pressure": "redundant"}), other, 3)
    torch.testing.assert_close(both.advantages_BT[3:, :3], alone.advantages_BT)
    assert isinstance(both.groups, GroupBatch)
    assert both.groups.steps.step_starts_BK[0].tolist() == [0, 4]
