from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from fake_policy import FakePolicy, make_requests
from hypothesis import given
from hypothesis import strategies as st
from small_policy import rollout_of
from transformers import AutoTokenizer

from attnpo.credit import Sampled, TokenStats, build_method
from attnpo.credit.methods.drpo import LOG_PROB
from attnpo.errors import DataError
from attnpo.tinyworld import checkpoint_path


def advantages(make_groups, responses, likely, **settings):
    groups = make_groups(responses, limit=100)
    groups = replace(groups, facts={LOG_PROB: torch.tensor([likely])})
    method = build_method("drpo", settings)
    return method.advantages(method.rewards(groups), groups)[0].tolist()


def softmax(values):
    return [math.exp(v) / sum(map(math.exp, values)) for v in values]


def test_worked_example(make_groups):
    # right: 1 - L / 100 = 0.9, 0.8 over lambda 0.1; wrong: s = -1, -2 over tau 1; times G = 4
    got = advantages(
        make_groups, [(True, 10), (True, 20), (False, 10), (False, 99)], [-0.5, -0.1, -1.0, -2.0], lam=0.1, tau=1
    )
    right, wrong = softmax([9, 8]), softmax([-1, -2])
    assert got == pytest.approx([4 * right[0], 4 * right[1], -4 * wrong[0], -4 * wrong[1]], rel=1e-5)


groups_of = st.lists(st.tuples(st.booleans(), st.integers(1, 100), st.floats(-5, 0, width=32)), min_size=2, max_size=6)


@given(groups_of, st.floats(0.05, 5), st.floats(0.1, 20))
def test_right_responses_share_one_and_wrong_ones_minus_one(make_groups, group, lam, tau):
    got = advantages(make_groups, [(c, n) for c, n, _ in group], [s for _, _, s in group], lam=lam, tau=tau)
    right = [(n, a) for (c, n, _), a in zip(group, got, strict=True) if c]
    wrong = [(s, a) for (c, _, s), a in zip(group, got, strict=True) if not c]
    if not right or not wrong:
        assert got == [0] * len(group)
        return
    assert sum(a for _, a in right) == pytest.approx(len(group), rel=1e-4)
    assert sum(a for _, a in wrong) == pytest.approx(-len(group), rel=1e-4)
    assert all(a >= 0 for _, a in right)
    assert all(a >= b - 1e-5 for n, a in right for m, b in right if n <= m)
    assert all(a <= b + 1e-5 for s, a in wrong for u, b in wrong if s >= u)


def test_log_probabilities_are_means_over_the_response():
    tokenizer = AutoTokenizer.from_pretrained(checkpoint_path())
    rollouts = [rollout_of(tokenizer, "Sum?", "3", text) for text in ("So 3.</think>3", "3</think>3")]
    stats = lambda ids: TokenStats(*[torch.arange(float(len(ids))) * -1] * 3)  # noqa: E731
    sampled = Sampled(rollouts, make_requests().prompt_ids[:2])
    probed = build_method("drpo").probe(sampled, FakePolicy(think=stats).policy)
    assert probed.facts == {LOG_PROB: [-(rollout.n_tokens - 1) / 2 for rollout in rollouts]}


def test_what_it_cannot_do_without(make_groups):
    groups = make_groups([(True, 3), (False, 4)])
    method = build_method("drpo")
    with pytest.raises(DataError, match=r"^method drpo: needs the response limit"):
        method.advantages(method.rewards(groups), groups)
