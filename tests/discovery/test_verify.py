from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from transformers import Qwen2Config, Qwen2ForCausalLM

from attnpo.attention import HeadSet, resolve_heads
from attnpo.discovery import DiscoverySettings
from attnpo.discovery.evidence import (
    Condition,
    InterventionResult,
    StabilityPoint,
    StabilityResult,
    TransferResult,
    TransferRow,
    VerificationResult,
)
from attnpo.discovery.measure import measure
from attnpo.discovery.random_model import random_copy
from attnpo.discovery.signals import signal_result
from attnpo.discovery.verify import compare_figures, stored_figures, verify_heads, with_evidence
from attnpo.errors import ConfigError, DataError, HeadSetError
from attnpo.labeling import label_steps
from attnpo.signals import build_signal, score_signals, score_steps
from attnpo.statistics import Interval

SETTINGS = DiscoverySettings(resamples=100, batch_size=8)


def interval(low, value, high):
    return Interval(value=value, low=low, high=high)


@pytest.fixture
def rollouts(toy, tmp_path):
    labelled = [label_steps(toy.labeler, r) for r in toy.rollouts(tmp_path, 16, 4) if r.correct]
    return [r for r in labelled if {"essential", "redundant"} <= {s.label for s in r.steps}]


def measured_by_hand(toy, model, rollouts, columns, heads):
    scores = score_steps(model, toy.tokenizer, rollouts)
    noise = score_steps(random_copy(model, 0), toy.tokenizer, rollouts)
    return measure(rollouts, scores, columns, heads, SETTINGS, random_scores=noise)


def test_the_evidence_is_repeated_and_compared(toy, model, rollouts, tmp_path):
    head_set = resolve_heads("0.1,1.0", model.config)
    all_heads = resolve_heads("0.0,0.1,1.0,1.1", model.config).heads
    truth = measured_by_hand(toy, model, rollouts, [1, 2], all_heads)
    value = truth.sra.value
    evidence = {
        "proven": True,
        "sra": interval(value - 0.01, value, value + 0.01).model_dump(),
        "sra_length_matched": interval(0.1, 0.2, 0.3).model_dump(),
        "trivial": {
            "shorter first": {"sra": truth.trivial["shorter first"].sra.model_dump(), "sra_length_matched": None}
        },
        "credit_accuracy": {"PA redundant": interval(2.0, 2.1, 2.2).model_dump()},
    }
    head_set = head_set.model_copy(update={"evidence": evidence, "model_id": "elsewhere"})
    result = verify_heads(
        head_set, model, toy.tokenizer, rollouts, SETTINGS, model_name="m", dataset_name="d", labeler_name="l"
    )
    figures = {figure.name: figure for figure in result.figures}
    assert figures["sra"].now == truth.sra
    assert (figures["sra"].inside, figures["sra"].overlap) == (True, True)
    assert figures["sra_length_matched"].now == truth.sra_length_matched
    assert figures["sra_length_matched"].inside is False
    assert figures["trivial: shorter first"].inside is True
    assert (figures["credit: PA redundant"].inside, figures["credit: PA redundant"].overlap) == (False, False)
    assert figures["trivial: earlier first"].then is None
    assert figures["trivial: earlier first"].now == truth.trivial["earlier first"].sra
    assert figures["trivial: random model, same heads"].now == truth.trivial["random model, same heads"].sra
    assert figures["trivial: uniform attention"].now == interval(0.5, 0.5, 0.5)
    assert (result.proven_then, result.proven_now) == (True, truth.proven)
    assert (result.pairs, result.ties, result.num_responses) == (truth.pairs, truth.ties, len(rollouts))
    assert (result.heads, result.found_on) == ([(0, 1), (1, 0)], "elsewhere")
    assert result.verdict.startswith(truth.verdict)
    assert "Of 4 figures that it carries, 2 lie inside their stored interval" in result.verdict
    assert "do not overlap for: " in result.verdict
    assert "credit: PA redundant" in result.verdict
    result.save(tmp_path / "verification.json")
    assert VerificationResult.load(tmp_path / "verification.json") == result


def test_a_head_set_without_figures(toy, model, rollouts):
    settings = DiscoverySettings(resamples=50, random_model=False)
    result = verify_heads(resolve_heads("0.1", model.config), model, toy.tokenizer, rollouts, settings)
    assert result.proven_then is None
    assert all(figure.then is None and figure.inside is None for figure in result.figures)
    assert not any("random model" in figure.name for figure in result.figures)
    assert result.verdict.endswith("The head set carries no figures to compare with.")


def test_rival_signals_are_measured_beside_the_heads(toy, model, rollouts):
    """At the temperature of sampling; they decide nothing, and nothing is stored of them to compare with."""
    settings = replace(SETTINGS, signals="log_prob,own_signals:Thirds", temperature=0.5)
    head_set = resolve_heads("0.1,1.0", model.config)
    result = verify_heads(head_set, model, toy.tokenizer, rollouts, settings)
    figures = {figure.name: figure for figure in result.figures}
    scores = score_signals(model, toy.tokenizer, rollouts, [build_signal("log_prob")], temperature=0.5)["log_prob"]
    expected = signal_result(build_signal("log_prob"), rollouts, scores, settings)
    assert figures["signal: log_prob"].now == expected.sra
    assert figures["signal: log_prob, length-matched"].now == expected.sra_length_matched
    assert figures["signal: own_signals:Thirds"].now == figures["trivial: longer first"].now
    assert figures["signal: heads_ranked"].now == figures["sra"].now
    assert figures["signal: log_prob"].then is None
    none = verify_heads(head_set, model, toy.tokenizer, rollouts, replace(settings, signals="none"))
    kept = [figure for figure in result.figures if figure.name in {other.name for other in none.figures}]
    assert kept == none.figures
    with pytest.raises(ConfigError, match="probe has weights of its own"):
        verify_heads(head_set, model, toy.tokenizer, rollouts, replace(settings, signals="probe"))


def test_what_cannot_be_verified(toy, model, rollouts):
    head_set = resolve_heads("0.1", model.config)
    other = Qwen2ForCausalLM(Qwen2Config(**{**model.config.to_dict(), "intermediate_size": 24}))
    with pytest.raises(HeadSetError, match="another architecture"):
        verify_heads(head_set, other, toy.tokenizer, rollouts, SETTINGS)
    broken = head_set.model_copy(update={"evidence": {"sra": {"value": "high"}}})
    with pytest.raises(HeadSetError, match="evidence holds a malformed interval"):
        verify_heads(broken, model, toy.tokenizer, rollouts, SETTINGS)
    with pytest.raises(DataError, match="of 0 responses none has both"):
        verify_heads(head_set, model, toy.tokenizer, [], SETTINGS)


def test_then_and_now():
    found = compare_figures(
        {"a": interval(0.4, 0.5, 0.6), "b": None, "c": interval(0, 0.5, 1)},
        {"a": interval(0.58, 0.61, 0.7), "b": interval(0, 0.5, 1)},
    )
    assert [(f.name, f.inside, f.overlap) for f in found] == [("a", False, True), ("b", None, None), ("c", None, None)]
    assert found[2].now is None


def test_discoverys_own_evidence_is_read(toy, model, tmp_path):
    rules = {"shorter first": {"sra": interval(0.4, 0.5, 0.6).model_dump(), "sra_length_matched": None}}
    head_set = resolve_heads("0.1", model.config).model_copy(
        update={"evidence": {"sra": interval(0.9, 0.95, 1).model_dump(), "sra_length_matched": None, "trivial": rules}}
    )
    head_set.save(tmp_path / "heads.json")
    assert stored_figures(HeadSet.load(tmp_path / "heads.json")) == {
        "sra": interval(0.9, 0.95, 1),
        "sra_length_matched": None,
        "trivial: shorter first": interval(0.4, 0.5, 0.6),
        "trivial: shorter first, length-matched": None,
    }
    assert stored_figures(resolve_heads("0.1", model.config)) == {}


def test_a_head_set_carries_all_evidence(model, tmp_path):
    half = interval(0.4, 0.5, 0.6)
    intervention = InterventionResult(
        model="m", dataset="d", heads=[(0, 1)], samples_per_trace=2, num_traces=3, wall_seconds=1.0, sampled_tokens=9,
        conditions=[Condition(name="untouched", deleted_tokens=0, deleted_steps=0, accuracy=half)],
    )  # fmt: skip
    points = [
        StabilityPoint(
            step=k, name=f"step {k}", sra=interval(0, v, 1), pearson=interval(0, 1 - k / 10, 1), heads=[(0, 1)]
        )
        for k, v in enumerate((0.9, 0.7, 0.8))
    ]
    stability = StabilityResult(model="m", heads=[(0, 1)], points=points, num_responses=5, warnings=["w"])
    row = TransferRow(selected_on="a", reported_on="b", heads=[(0, 1)], sra=half, pairs=4)
    transfer = TransferResult(rows=[row], grouped_by="subject")
    plain = resolve_heads("0.1", model.config).model_copy(update={"evidence": {"dataset": "d"}})
    head_set = with_evidence(plain, intervention=intervention, stability=stability, transfer=transfer)
    assert plain.evidence == {"dataset": "d"}
    head_set.save(tmp_path / "heads.json")
    loaded = HeadSet.load(tmp_path / "heads.json")
    assert loaded == head_set
    evidence = loaded.evidence
    assert set(evidence) == {"dataset", "intervention", "stability", "transfer"}
    assert evidence["intervention"]["conditions"][0]["accuracy"] == half.model_dump()
    assert (evidence["stability"]["least_sra"], evidence["stability"]["least_pearson"]) == (0.7, 0.8)
    assert (evidence["stability"]["first"]["step"], evidence["stability"]["last"]["step"]) == (0, 2)
    assert evidence["transfer"]["rows"][0]["reported_on"] == "b"
    verification = VerificationResult(
        model="m", dataset="d", labeler="l", heads=[(0, 1)], found_on="m", num_responses=1, pairs=1,
        pairs_length_matched=0, ties=0.0, figures=[], proven_then=None, proven_now=False, verdict="v",
    )  # fmt: skip
    further = with_evidence(loaded, verification=verification)
    assert further.evidence["verification"]["verdict"] == "v"
    assert further.evidence["transfer"] == evidence["transfer"]
    assert np.isclose(further.evidence["intervention"]["samples_per_trace"], 2)
