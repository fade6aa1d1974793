"""FAI, WAAD and FlowTracer against loops over whole attention matrices, in float64."""

from __future__ import annotations

import math
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from attnpo.signals import build_signal, score_signals
from attnpo.signals.base import Places
from attnpo.signals.flow_tracer import flows, node_of_token
from attnpo.signals.rows import middle_heads

NAMES = ("fai", "waad", "flow_tracer")


def with_long(world):
    """A response more, whose steps lie farther apart than the windows are wide."""
    rollouts = [*world.rollouts, world.response(7, 14)]
    assert rollouts[-1].n_tokens > 60
    return SimpleNamespace(rollouts=rollouts, truths=[*world.truths, world.truth(world.model, rollouts[-1])])


@pytest.fixture(scope="module")
def long(small):
    return with_long(small)


def spans(truth, rollout, heads):
    """Mean distance at which each head looks back from the response."""
    start, end = truth.offset + rollout.steps[0].tokens[0], truth.offset + rollout.n_tokens
    return [
        sum(float(truth.attention[h, m, n]) * (m - n) for m in range(start, end) for n in range(m + 1)) / (end - start)
        for h in heads
    ]


def chosen(truth, rollout, heads, far):
    own = spans(truth, rollout, heads)
    order = sorted(range(len(heads)), key=lambda i: -own[i] if far else own[i])
    return [heads[i] for i in order[: math.ceil(0.3 * len(heads))]]


def fai(truth, rollout, heads):
    start, end = truth.offset, truth.offset + rollout.n_tokens
    scores = []
    for a, b in (step.tokens for step in rollout.steps):
        total = 0.0
        for head in chosen(truth, rollout, heads, far=True):
            for n in range(start + a, start + b):
                later = [float(truth.attention[head, m, n]) for m in range(n + 10, min(n + 50, end - 1) + 1)]
                total += sum(later) / len(later) if later else 0.0
        scores.append(total / max(b - a, 1) / math.ceil(0.3 * len(heads)))
    return scores


def waad(truth, rollout, heads):
    scores = []
    for a, b in (step.tokens for step in rollout.steps):
        total = sum(
            float(truth.attention[head, m, n]) * min(m - n, 10)
            for head in chosen(truth, rollout, heads, far=False)
            for m in range(truth.offset + a, truth.offset + b)
            for n in range(m + 1)
        )
        scores.append(total / max(b - a, 1) / math.ceil(0.3 * len(heads)))
    return scores


def flow_by_walks(paid):
    """Flow through each node, as the share of the weight of all walks from the first node to the last that visit it."""
    last = len(paid) - 1
    through, whole = [0.0] * len(paid), 0.0

    def walk(node, weight, visited):
        nonlocal whole
        if node == last:
            whole += weight
            for one in visited:
                through[one] += weight
            return
        for later in range(node + 1, last + 1):
            walk(later, weight * paid[later][node], [*visited, later])

    walk(0, 1.0, [0])
    return [value / whole if whole else 0.0 for value in through]


def flow_tracer(truth, rollout, heads):
    nodes = [range(truth.offset)]
    nodes += [range(truth.offset + a, truth.offset + b) for a, b in (step.tokens for step in rollout.steps)]
    nodes += [range(truth.offset + rollout.answer_tokens[0], truth.offset + rollout.answer_tokens[1])]
    mean = truth.attention[heads].mean(dim=0)
    paid = [
        [sum(float(mean[m, n]) for m in mine for n in theirs) / max(len(mine), 1) for theirs in nodes] for mine in nodes
    ]
    return flow_by_walks(paid)[1:-1]


@pytest.mark.parametrize(("world", "layers"), [("small", [1]), ("deep", [2, 3, 4])])
def test_signals_of_all_rows_are_what_brute_force_says(request, world, layers):
    """In one layer and in several, whose heads and nodes must not be mixed up."""
    world = request.getfixturevalue(world)
    long = with_long(world)
    heads = [4 * head.layer + head.head for head in middle_heads(world.model)]
    assert heads == [4 * layer + head for layer in layers for head in range(4)]
    signals = [build_signal(name) for name in NAMES]
    found = score_signals(world.model, world.tokenizer, long.rollouts, signals, batch_size=3)
    for name, brute in zip(NAMES, (fai, waad, flow_tracer), strict=True):
        for number, (rollout, truth) in enumerate(zip(long.rollouts, long.truths, strict=True)):
            np.testing.assert_allclose(
                found[name][number], brute(truth, rollout, heads), rtol=2e-4, atol=1e-6, err_msg=f"{name} {number}"
            )
    assert (found["fai"][-1] > 0).sum() > 5


def test_queries_may_be_taken_few_at_a_time(small, long, monkeypatch):
    import attnpo.attention.reduction as reduction

    signals = [build_signal(name) for name in NAMES]
    whole = score_signals(small.model, small.tokenizer, long.rollouts, signals)
    monkeypatch.setattr(reduction, "MAX_LOGITS", 1)  # one query at a time
    few = score_signals(small.model, small.tokenizer, long.rollouts, signals)
    for name in NAMES:
        for one, other in zip(whole[name], few[name], strict=True):
            np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-6)


def test_flow_by_hand():
    # Question 0, steps 1 and 2, answer 3. Walks: 0-3: .1, 0-1-3: .5 · .4, 0-2-3: .2 · .5, 0-1-2-3: .5 · .2 · .5.
    paid = torch.zeros(1, 4, 4)
    paid[0, 1, 0], paid[0, 2, 0], paid[0, 2, 1] = 0.5, 0.2, 0.2
    paid[0, 3, 0], paid[0, 3, 1], paid[0, 3, 2] = 0.1, 0.4, 0.5
    assert flows(paid)[0].tolist() == pytest.approx([1, 0.25 / 0.45, 0.15 / 0.45, 1])


@given(st.lists(st.lists(st.integers(0, 4).map(lambda n: n / 4), min_size=6, max_size=6), min_size=6, max_size=6))
def test_flow_is_the_share_of_walks_that_visit_a_node(paid):
    expected = flow_by_walks(paid)
    found = flows(torch.tensor([paid], dtype=torch.float64))[0].tolist()
    if sum(expected) > 0:
        assert found == pytest.approx(expected, rel=1e-6, abs=1e-9)
        assert (found[0], found[-1]) == pytest.approx((1, 1))


def test_nothing_flows_where_nobody_looks_back_at_the_question():
    paid = torch.zeros(1, 4, 4)
    paid[0, 3, 2] = 1.0
    assert flows(paid).tolist() == [[0, 0, 0, 0]]


def test_nodes_of_tokens():
    places = Places(
        step_index_BL=torch.tensor([[-1, -1, -1, 0, 0, 1, -1, -1, -1, -1]]),
        answer_mask_BL=torch.tensor([[False] * 7 + [True, True, False]]),
        attention_mask_BL=torch.tensor([[0] + [1] * 9]),
        num_steps=2,
    )
    # Padding, two tokens of the question, steps, the mark, the answer, the end token.
    assert node_of_token(places).tolist() == [[4, 0, 0, 1, 1, 2, 4, 3, 3, 4]]


@pytest.mark.parametrize(
    ("depth", "layers"), [(1, [0]), (2, [0, 1]), (3, [1]), (4, [1, 2]), (12, [4, 5, 6, 7]), (28, [9, 11, 13, 16, 18])]
)
def test_five_layers_of_the_middle_third(depth, layers):
    from transformers import Qwen2Config, Qwen2ForCausalLM

    config = Qwen2Config(
        vocab_size=8, hidden_size=8, intermediate_size=8, num_hidden_layers=depth, num_attention_heads=2,
        num_key_value_heads=1,
    )  # fmt: skip
    wrapped = torch.nn.Sequential(Qwen2ForCausalLM(config))  # as DDP and others wrap it: no config of its own
    heads = middle_heads(wrapped)
    assert [(head.layer, head.head) for head in heads] == [(layer, head) for layer in layers for head in (0, 1)]
