from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from transformers import Qwen2Config, Qwen2ForCausalLM

from attnpo.attention import Head
from attnpo.credit import pack_steps
from attnpo.evaluation.annotation import annotate
from attnpo.rollouts import Rollout
from attnpo.signals import build_signal, score_signals, score_steps


@pytest.fixture
def model():
    torch.manual_seed(0)
    sizes = {"hidden_size": 32, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4}
    return Qwen2ForCausalLM(Qwen2Config(vocab_size=128, num_key_value_heads=2, initializer_range=0.3, **sizes)).eval()


def test_gamma_by_hand(toy, tmp_path, model):
    rollouts = toy.rollouts(tmp_path, problems=6, samples=4)
    heads = [Head(1, 0), Head(0, 3)]
    annotated = annotate(model, toy.tokenizer, rollouts, heads)
    scores = score_steps(model, toy.tokenizer, rollouts, heads)
    touched = 0
    for before, after, scores_KN in zip(rollouts, annotated, scores, strict=True):
        group = [r for r in rollouts if r.problem_id == before.problem_id]
        assert after.pass_rate == pytest.approx(sum(r.correct for r in group) / 4)
        cleared = tuple(replace(s, score=None, gamma=None) for s in after.steps)
        assert replace(after, steps=cleared, advantage=None) == before
        p, answer = after.pass_rate, after.answer_tokens[1] - after.answer_tokens[0]
        baseline = p**2 * answer / after.n_tokens
        for step, score in zip(after.steps, scores_KN.mean(axis=1), strict=True):
            assert step.score == pytest.approx(float(score))
            expected = 1.0
            if after.correct and len(after.steps) > 1:
                if after.advantage > 0 and score < baseline:
                    expected = p**2 * score / baseline + 1 - p**2
                elif after.advantage < 0 and score > baseline:
                    expected = 0.0
            assert step.gamma == pytest.approx(expected, abs=1e-5)
            touched += expected < 1
    assert touched > 5


def test_a_response_alone_has_no_advantage(toy, tmp_path, model):
    rollouts = toy.rollouts(tmp_path, problems=2, samples=1)
    for rollout in annotate(model, toy.tokenizer, rollouts, [Head(0, 0)]):
        assert rollout.advantage == 0.0
        assert all(step.gamma == 1.0 for step in rollout.steps)


def test_rival_signals_stand_beside_the_score_on_its_scale(toy, tmp_path, model):
    rollouts = toy.rollouts(tmp_path, problems=4, samples=2)
    signals = [build_signal("earlier"), build_signal("log_prob"), build_signal("oracle")]
    labelled = [replace(r, steps=tuple(replace(s, label="undecided") for s in r.steps)) for r in rollouts]
    plain = annotate(model, toy.tokenizer, labelled, [Head(1, 0)])
    annotated = annotate(model, toy.tokenizer, labelled, [Head(1, 0)], signals=signals)
    assert [replace(r, steps=tuple(replace(s, signals=None) for s in r.steps)) for r in annotated] == plain
    log_probs = score_signals(model, toy.tokenizer, rollouts, signals[1:2])["log_prob"]
    for rollout, scores_K in zip(annotated, log_probs, strict=True):
        lengths = [step.tokens[1] - step.tokens[0] for step in rollout.steps]
        even = (rollout.answer_tokens[1] - rollout.answer_tokens[0]) / rollout.n_tokens
        for k, step in enumerate(rollout.steps):
            below = {
                "earlier": sum(lengths[k + 1 :]),
                "log_prob": sum(n for n, score in zip(lengths, scores_K, strict=True) if score < scores_K[k]),
            }
            u = {name: (tokens + lengths[k] / 2) / sum(lengths) for name, tokens in below.items()}
            assert step.signals == pytest.approx({name: 2 * u[name] * even for name in u})  # the truth knows nothing
        assert Rollout.from_json(rollout.to_json()) == rollout
    assert "signals" not in plain[0].to_json()


def test_signals_are_read_at_the_temperature_of_sampling(toy, tmp_path, model):
    """Tempered probabilities order steps otherwise than plain ones."""
    rollouts = toy.rollouts(tmp_path, problems=4, samples=2)
    signals = [build_signal("entropy_high"), build_signal("log_prob")]

    def shown(**options):
        annotated = annotate(model, toy.tokenizer, rollouts, [Head(1, 0)], signals=signals, **options)
        return {s.name: [step.signals[s.name] for r in annotated for step in r.steps] for s in signals}

    raw = score_signals(model, toy.tokenizer, rollouts, signals, temperature=0.3)
    for signal in signals:
        steps = pack_steps(rollouts, raw[signal.name])
        ranked_BK = signal.for_credit(steps.scores_BK, steps)
        expected = [score for row, r in zip(ranked_BK.tolist(), rollouts, strict=True) for score in row[: len(r.steps)]]
        assert shown(temperature=0.3)[signal.name] == pytest.approx(expected)
    assert shown(temperature=0.3) != shown()


def test_traces_without_a_label_leave_out_what_reads_labels(toy, tmp_path, model, caplog):
    rollouts = toy.rollouts(tmp_path, problems=2, samples=2)
    signals = [build_signal("oracle"), build_signal("earlier")]
    annotated = annotate(model, toy.tokenizer, rollouts, [Head(1, 0)], signals=signals)
    assert "no step of the traces to show has a label; left out: oracle" in caplog.text
    assert all(set(step.signals) == {"earlier"} for r in annotated for step in r.steps)
