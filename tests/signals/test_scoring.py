"""Signals read in one pass, against whole attention matrices and logits of each response alone, in float64."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from own_signals import LikeLogProb

from attnpo.attention import Head
from attnpo.errors import ConfigError, UnsupportedModelError
from attnpo.models import token_statistics
from attnpo.signals import SIGNALS, build_signal, known_scores, score_signals
from attnpo.signals import scoring as scoring_module
from attnpo.signals.heads import EachHead
from attnpo.signals.probe import Probe, ProbeWeights


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


def test_heads_are_read_one_by_one_beside_signals(small):
    heads = [Head(2, 1), Head(0, 3)]  # not in the order of layers
    signals = [build_signal("log_prob"), EachHead(heads), build_signal("all_heads")]
    found = score_signals(small.model, small.tokenizer, small.rollouts, signals, batch_size=3)
    for rows_KN, rollout, truth in zip(found[EachHead.name], small.rollouts, small.truths, strict=True):
        answer = range(*rollout.answer_tokens)
        each = [attention_to_steps(truth, rollout, [head.layer * 4 + head.head], answer) for head in heads]
        np.testing.assert_allclose(rows_KN, np.array(each).T, rtol=2e-4, atol=2e-6)


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
    log_probs, likeliest, entropies = token_statistics(logits, torch.tensor([[0]]), temperature=0.5)
    assert float(log_probs) == pytest.approx(float(exact[0]))
    assert float(likeliest) == pytest.approx(float(exact[1]))
    assert float(entropies) == pytest.approx(float(-(exact.exp() * exact).sum()))
    assert found["entropy_high"][0].tolist() != scored(small, "entropy_high")["entropy_high"][0].tolist()


def test_an_impossible_token_leaves_the_entropy_finite():
    logits = torch.tensor([[[0.0, 0.0, float("-inf")]]])
    log_probs, _, entropies = token_statistics(logits, torch.tensor([[0]]), at_once=1)
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


def test_signals_of_ones_own_join_the_pass(small):
    """One reads something that no need names; one is named as another is."""
    names = ("own_signals:Thirds", "own_signals:Attached", "own_signals:LikeLogProb", "log_prob", "entropy_high")
    found = scored(small, *names)
    width = max(len(r.prompt) for r in small.rollouts) + max(r.n_tokens for r in small.rollouts)
    for number, rollout in enumerate(small.rollouts):
        lengths = [step.tokens[1] - step.tokens[0] for step in rollout.steps]
        assert found["own_signals:Thirds"][number].tolist() == pytest.approx([n / 3 for n in lengths])
        seen = {float(score) - n for score, n in zip(found["own_signals:Attached"][number], lengths, strict=True)}
        assert len(seen) == 1
        assert len(rollout.prompt) + rollout.n_tokens <= seen.pop() <= width
        np.testing.assert_allclose(found["own_signals:LikeLogProb"][number], 2 * found["entropy_high"][number])
    assert found["log_prob"][0].tolist() == scored(small, "log_prob")["log_prob"][0].tolist()
    twice = [LikeLogProb(), build_signal("log_prob")]
    with pytest.raises(ConfigError, match=r"^signals: two go by the name 'log_prob'; give each class a `name`"):
        score_signals(small.model, small.tokenizer, small.rollouts, twice)


def test_a_signal_that_attaches_something_is_read_in_a_pass():
    assert build_signal("own_signals:Attached").is_read_in_a_pass
    assert not build_signal("own_signals:Thirds").is_read_in_a_pass


def test_a_batch_without_labels_takes_nothing_from_the_others(small):
    bare = replace(small.rollouts[1], steps=tuple(replace(step, label=None) for step in small.rollouts[1].steps))
    rollouts = [small.rollouts[0], bare, *small.rollouts[2:]]
    signals = [build_signal("oracle"), build_signal("log_prob")]
    found = score_signals(small.model, small.tokenizer, rollouts, signals, batch_size=1)["oracle"]
    whole = known_scores(signals[:1], small.rollouts)["oracle"]
    assert np.isnan(found[1]).all()
    for number in (0, 2, 3):
        np.testing.assert_array_equal(found[number], whole[number])


def test_rows_are_numbered_from_where_one_says(small):
    signals = [build_signal("random", seed=5), build_signal("log_prob")]
    found = score_signals(small.model, small.tokenizer, small.rollouts, signals, batch_size=2, first_row_id=7)
    known = known_scores(signals[:1], small.rollouts, first_row_id=7)
    assert [row.tolist() for row in found["random"]] == [row.tolist() for row in known["random"]]


def test_what_does_not_fit_the_model_is_refused_before_a_pass(small):
    hook = small.model.register_forward_pre_hook(lambda *_: pytest.fail("a pass was made"))
    probe = Probe(fitted=ProbeWeights(layer=1, weights=[0.5] * 16))
    with pytest.raises(UnsupportedModelError, match="fitted to layer 1 of a model of 16 dimensions"):
        score_signals(small.model, small.tokenizer, small.rollouts, [build_signal("log_prob"), probe])
    hook.remove()
