from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from traces_by_hand import ListTokenizer, rollout_of

from attnpo.credit import Ask, GroupBatch, build_method
from attnpo.credit.methods.arlcp import WORDS
from attnpo.errors import ConfigError, DataError


def batch(responses):
    correct, lengths, words = zip(*responses, strict=True)
    verdicts = torch.tensor([correct])
    return GroupBatch(
        verdicts, torch.tensor([lengths]), torch.ones_like(verdicts), facts={WORDS: torch.tensor([words]).float()}
    )


def sigmoid(x):
    return 1 / (1 + math.exp(-x))


def test_worked_example():
    # correct: lengths 10, 30 and words 2, 50; a sample of two has z = -+1 / sqrt(2)
    got = build_method("arlcp").rewards(batch([(True, 10, 2), (True, 30, 50), (False, 10, 90), (False, 5, 0)]))
    short, long = sigmoid(-math.sqrt(0.5)), sigmoid(math.sqrt(0.5))
    expected = [1 - 0.05 * short - 0.15 * short, 1 - 0.1 * long - 0.1 * long, 0, 0]
    assert got[0].tolist() == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize(("words", "weight"), [(0, 0.05), (40, 0.05), (41, 0.1), (80, 0.1), (81, 0.15)])
def test_many_words_weigh_reflection_more(words, weight):
    # lengths 10, 30 and words apart: z_R = -z_L for the first response
    rewards = build_method("arlcp").rewards(batch([(True, 10, words), (True, 30, words - 1)]))[0]
    up, down = sigmoid(math.sqrt(0.5)), sigmoid(-math.sqrt(0.5))
    assert float(rewards[0]) == pytest.approx(1 - weight * up - (0.2 - weight) * down, rel=1e-6)


def test_words_are_counted_whole_and_in_any_case():
    tokenizer = ListTokenizer()
    rollout = rollout_of(
        tokenizer, [["Wait, ", "butter ", "BUT "], ["double-check. ", "Hold on"]], ["Oh 3 alternatively"]
    )
    assert build_method("arlcp").facts(rollout, Ask(rollout.prompt)) == {WORDS: 6}
    assert build_method("arlcp", {"words": ["butter"]}).facts(rollout, Ask(rollout.prompt)) == {WORDS: 1}


@given(
    st.lists(st.tuples(st.booleans(), st.integers(1, 60), st.integers(0, 99)), min_size=2, max_size=6), st.floats(0, 1)
)
def test_rewards_stay_within_the_weight(responses, weight):
    got = build_method("arlcp", {"weight": weight}).rewards(batch(responses))[0].tolist()
    right = [(n, w, reward) for (ok, n, w), reward in zip(responses, got, strict=True) if ok]
    assert all(1 - weight - 1e-6 <= reward <= 1 for _, _, reward in right)
    assert all(reward == 0 for (ok, _, _), reward in zip(responses, got, strict=True) if not ok)
    if len({(n, w) for n, w, _ in right}) == 1:
        assert all(reward == pytest.approx(1 - weight / 2) for _, _, reward in right)


def test_words_that_were_not_counted():
    groups = batch([(True, 10, 2), (False, 30, 50)])
    with pytest.raises(DataError, match=r"^method arlcp: needs words of reflection"):
        build_method("arlcp").rewards(GroupBatch(groups.correct_PG, groups.lengths_PG, groups.finished_PG))


@pytest.mark.parametrize(
    ("field", "value"), [("words", []), ("words", [3]), ("word_bounds", [9, 3]), ("reflection_shares", [0.5, 0.5])]
)
def test_values_out_of_range(field, value):
    with pytest.raises(ConfigError, match=f"^{field}: .* is not allowed"):
        build_method("arlcp", {field: value})
