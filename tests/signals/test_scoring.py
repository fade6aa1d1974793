"""Signals read in one pass, against whole attention matrices and logits of each response alone, in float64."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from attnpo.attention import Head
from attnpo.signals import SIGNALS, Signal, build_signal, known_scores, score_signals
from attnpo.signals import scoring as scoring_module
from attnpo.signals.passes import token_statistics


def scored(small, *names, **options):
    signals = [build_signal(name, [Head(0, 3), Head(2, 1)]) for name in names]
    return score_signals(small.model, small.tokenizer, small.rollouts, signals, batch_size=3, **options)


def mean_over_steps(values_T, rollout):
    return [float(np.mean(values_T[a:b])) if b > a else 0.0 for a, b in (step.tokens for step in rollout.steps)]


def attention_to_steps(truth, rollout, heads, queries):
    """Eq. 1 and 2 spelled out."""
    received = []
    for a, b in (step.tokens for step in rollout.steps):
        total = sum(
            float(truth.attention[head, truth.offset + query, truth.offset + key])
            for head in heads
            for query in queries
            for key in range(a, b)
        )
        received.append(total / max(b - a, 1) / len(heads))
    return received


def expected(name, rollout, truth):
    answer, every = range(*rollout.answer_tokens), range(len(truth.attention))
    mark = range(rollout.steps[-1].tokens[1], rollout.answer_tokens[0])
    assert len(mark) == 2
    match name:
        case "log_prob":
            return mean_over_steps(truth.log_probs, rollout)
        case "entropy_high":
            return mean_over_steps(truth.entropies, rollout)
        case "entropy_low":
            return [-mean for mean in mean_over_steps(truth.entropies, rollout)]
        case "think_close":
            return attention_to_steps(truth, rollout, every, mark)
        case "all_heads":
            return attention_to_steps(truth, rollout, every, answer)
        case "heads" | "heads_ranked":
            return attention_to_steps(truth, rollout, [0 * 4 + 3, 2 * 4 + 1], answer)
    raise AssertionError(name)


IN_A_PASS = ("log_prob", "entropy_high", "entropy_low", "think_close", "all_heads", "heads", "heads_ranked")
ELSEWHERE = ("fai", "waad", "flow_tracer", "probe")  # test_rows.py, test_probe.py


def test_every_signal_of_a_pass_is_what_brute_force_says(small):
    """All in one pass: padding of other rows, and the other signals, change nothing."""
    found = scored(small, *IN_A_PASS)
    for name in IN_A_PASS:
        for row, rollout, truth in zip(found[name], small.rollouts, small.truths, strict=True):
            np.testing.assert_allclose(row, expected(name, rollout, truth), rtol=2e-4, atol=2e-6, err_msg=name)


def test_every_signal_that_reads_a_pass_is_tested_against_brute_force():
    assert {name for name in SIGNALS if build_signal(name).is_read_in_a_pass} == {*IN_A_PASS, *ELSEWHERE}


def test_known_signals_join_a_pass_unchanged(small):
    both = scored(small, "log_prob", "earlier", "random")
    alone = known_scores([build_signal("earlier"), build_signal("random")], small.rollouts)
    for name in ("earlier", "random"):
        assert [row.tolist() for row in both[name]] == [row.tolist() for row in alone[name]]


def test_the_temperature_is_that_of_sampling(small):
    found = scored(small, "log_prob", "entropy_high", temperature=0.5)
    logits = torch.tensor([[[1.0, 2.0, -1.0]]])
    exact = (logits.double() / 0.5).log_softmax(-1)[0, 0]
    log_probs, entropies = token_statistics(logits, torch.tensor([[1]]), temperature=0.5)
    assert float(log_probs) == pytest.approx(float(exact[1]))
    assert float(entropies) == pytest.approx(float(-(exact.exp() * exact).sum()))
    assert found["entropy_high"][0].tolist() != scored(small, "entropy_high")["entropy_high"][0].tolist()


def test_an_impossible_token_leaves_the_entropy_finite():
    logits = torch.tensor([[[0.0, 0.0, float("-inf")]]])
    log_probs, entropies = token_statistics(logits, torch.tensor([[0]]), at_once=1)
    assert float(entropies) == pytest.approx(np.log(2))
    assert float(log_probs) == pytest.approx(-np.log(2))


def test_rows_are_bounded_where_logits_would_not_fit(small, monkeypatch):
    whole = scored(small, "log_prob")["log_prob"]
    monkeypatch.setattr(scoring_module, "MAX_LOGITS", 1)
    passes = []
    hook = small.model.register_forward_pre_hook(lambda *_: passes.append(1))
    few = scored(small, "log_prob")["log_prob"]
    hook.remove()
    assert len(passes) == 4
    for one, other in zip(whole, few, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-4)


def test_without_a_reader_no_pass_is_made(small):
    hook = small.model.register_forward_pre_hook(lambda *_: pytest.fail("a pass was made"))
    assert len(scored(small, "earlier", "oracle")["oracle"]) == 4
    hook.remove()


def test_the_model_is_left_in_its_mode(small):
    small.model.train()
    scored(small, "log_prob")
    assert small.model.training
    small.model.eval()


def test_a_signal_of_ones_own(small):
    class Thirds(Signal):
        name = "thirds"

        def score(self, seen):
            return seen.step_lengths_BK / 3

    found = score_signals(small.model, small.tokenizer, small.rollouts, [Thirds(), build_signal("log_prob")])
    assert found["thirds"][0].tolist() == pytest.approx(
        [(s.tokens[1] - s.tokens[0]) / 3 for s in small.rollouts[0].steps]
    )
