from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from attnpo.attention import Head, HeadSet
from attnpo.discovery import DiscoveryResult, DiscoverySettings, GateCounts, discover, sample_traces
from attnpo.discovery.result import RuleResult, judge
from attnpo.discovery.run import analyse, relative_attention
from attnpo.errors import ConfigError, DataError, OutputError, UnsupportedModelError
from attnpo.labeling import FunctionLabeler
from attnpo.rollouts import Rollout, Step, read_rollouts
from attnpo.signals.probe import ProbeWeights
from attnpo.statistics import Interval

SETTINGS = DiscoverySettings(samples_per_problem=4, max_new_tokens=80, resamples=50, batch_size=8, curve_heads=4)


def sample(toy, output_dir, sampler=None, settings=SETTINGS, **changes):
    return sample_traces(
        output_dir,
        **{
            "problems": toy.problems(16),
            "tokenizer": toy.tokenizer,
            "sampler": sampler or toy.Sampler(),
            "segmenter": toy.segmenter,
            "verifier": toy.verifier,
            "settings": settings,
            "context": {"model": "toy-model"},
            **changes,
        },
    )


def run(toy, model, output_dir, traces=None, settings=SETTINGS, labeler=None):
    traces = sample(toy, output_dir / "traces") if traces is None else traces
    labeler = labeler or FunctionLabeler(toy.labeler, "toy-labeler")
    names = {"model_name": "toy-model", "dataset_name": "toy-data"}
    return discover(model, toy.tokenizer, traces, labeler, settings, output_dir, **names).result


def test_discovery_writes_result_head_set_and_probing_set(toy, model, tmp_path):
    result = run(toy, model, tmp_path / "out")
    assert DiscoveryResult.load(tmp_path / "out" / "discovery.json") == result
    gates = result.gates.model_dump()
    assert gates.pop("sampled") == 64 == sum(gates.values())
    probing_set = list(read_rollouts(tmp_path / "out" / "probing_set.jsonl"))
    assert gates["kept"] == result.num_select + result.num_report == len(probing_set) > 0
    assert all({"essential", "redundant"} <= {step.label for step in r.steps} for r in probing_set)
    assert (result.num_layers, result.num_heads) == (2, 2)
    for grid in (result.sra_select, result.sra_report, result.sra_report_low, result.relative_attention):
        assert np.shape(grid) == (2, 2)
    assert np.all(np.array(result.sra_report_low) <= np.array(result.sra_report))
    assert np.all(np.array(result.sra_report_high) >= np.array(result.sra_report))
    assert [len(e.heads) for e in result.greedy] == [1, 2, 3, 4]
    assert result.best_single_sra.value == pytest.approx(result.top[0].sra_report)
    chosen = next(e for e in result.greedy if e.heads == result.chosen)
    assert result.chosen_sra.value == pytest.approx(chosen.sra_report)
    assert set(result.trivial) >= {"shorter first", "earlier first", "all heads", "uniform attention", "random model"}
    assert set(result.credit_accuracy) == {"PA essential", "PA redundant", "NA essential", "NA redundant"}
    assert {"heads_ranked", "log_prob", "entropy_high", "think_close", "random", "oracle"} <= set(result.signals)
    assert result.signals["oracle"].sra.value == 1
    assert ProbeWeights.load(tmp_path / "out" / "probe.json").model == "toy-model"
    assert "probe" in result.signals
    assert result.signals["entropy_high"].sra.value == pytest.approx(1 - result.signals["entropy_low"].sra.value)
    assert all(set(signal.credit_accuracy) == set(result.credit_accuracy) for signal in result.signals.values())
    heads = HeadSet.load(tmp_path / "out" / "heads.json")
    heads.validate_for(model.config)
    assert [tuple(h) for h in heads.heads] == result.chosen
    assert heads.sra == result.chosen_sra.value
    assert heads.evidence["verdict"] == result.verdict
    assert heads.evidence["trivial"].keys() == result.trivial.keys()


def test_heads_probe_and_signals_are_read_off_one_pass(toy, model, tmp_path):
    passes = []
    hook = model.register_forward_pre_hook(lambda module, args, options: passes.append(1), with_kwargs=True)
    result = run(toy, model, tmp_path / "out")  # the random copy is a model of its own
    hook.remove()
    responses = result.num_select + result.num_report
    assert len(passes) == -(-responses // SETTINGS.batch_size)
    assert {"probe", "log_prob", "fai"} <= set(result.signals)


def test_signals_may_be_chosen_or_left_out(toy, model, tmp_path):
    few = replace(SETTINGS, signals="log_prob, random")
    assert set(run(toy, model, tmp_path / "few", settings=few).signals) == {"heads_ranked", "log_prob", "random"}
    assert not (tmp_path / "few" / "probe.json").exists()
    own = replace(SETTINGS, signals="own_signals:Thirds,own_signals:Halves,own_signals:LikeLogProb,longer")
    found = run(toy, model, tmp_path / "own", settings=own)
    assert set(found.signals) == {"heads_ranked", *own.signals.split(",")}
    assert found.signals["own_signals:Thirds"].sra == found.signals["longer"].sra == found.trivial["longer first"].sra
    assert found.signals["own_signals:Halves"].sra == found.trivial["shorter first"].sra
    none = replace(SETTINGS, signals="none")
    assert set(run(toy, model, tmp_path / "none", settings=none).signals) == {"heads_ranked"}
    with pytest.raises(ConfigError, match="signal: 'entropy' is unknown"):
        DiscoverySettings(signals="entropy")
    with pytest.raises(ConfigError, match="signals: heads reads a head set, which discover measures in any case"):
        DiscoverySettings(signals="log_prob,heads")


def test_a_signal_that_does_not_fit_is_refused_before_anything_is_labelled(toy, model, tmp_path):
    ProbeWeights(layer=5, weights=[1.0] * 16).save(tmp_path / "probe.json")
    settings = replace(SETTINGS, signals=str(tmp_path / "probe.json"))
    with pytest.raises(UnsupportedModelError, match="fitted to layer 5"):
        run(toy, model, tmp_path / "out", settings=settings)
    assert not (tmp_path / "out" / "labels.jsonl").exists()
    ProbeWeights(layer=1, weights=[1.0] * 16).save(tmp_path / "probe.json")
    assert set(run(toy, model, tmp_path / "out", settings=settings).signals) == {"heads_ranked", settings.signals}


def test_an_interrupted_discovery_ends_with_the_same_numbers(toy, model, tmp_path):
    whole = run(toy, model, tmp_path / "a" / "out")
    with pytest.raises(toy.Interrupted):
        sample(toy, tmp_path / "b", toy.Sampler(interrupt_after=20))
    sampler = toy.Sampler(backwards=True)
    traces = sample(toy, tmp_path / "b", sampler)
    assert len(sampler.sampled) == 44
    labelled = []

    def dying(question, response, steps):
        if len(labelled) == 9:
            raise toy.Interrupted
        labelled.append(response)
        return toy.labeler(question, response, steps)

    with pytest.raises(toy.Interrupted):
        run(toy, model, tmp_path / "b", traces, labeler=FunctionLabeler(dying, "toy-labeler"))
    with pytest.raises(toy.Interrupted):  # nothing is labelled twice: the tenth is the next
        run(toy, model, tmp_path / "b", traces, labeler=FunctionLabeler(dying, "toy-labeler"))
    resumed = run(toy, model, tmp_path / "b", traces)
    assert resumed.model_copy(update={"wall_seconds": whole.wall_seconds}) == whole


def test_choice_may_change_without_labelling_again_but_labels_may_not(toy, model, tmp_path):
    run(toy, model, tmp_path / "out")
    settings = DiscoverySettings(
        samples_per_problem=4, max_new_tokens=80, resamples=50, num_heads=2, selection="top", random_model=False
    )

    def never(question, response, steps):
        raise AssertionError("labelled again")

    result = run(toy, model, tmp_path / "out", settings=settings, labeler=FunctionLabeler(never, "toy-labeler"))
    assert (result.chosen_by, len(result.chosen) <= 2) == ("top", True)
    assert "random model" not in result.trivial
    with pytest.raises(OutputError, match="holds results of other settings: labeler"):
        run(toy, model, tmp_path / "out", labeler=FunctionLabeler(toy.labeler, "other-labeler"))


def test_user_errors_come_before_sampling(toy, model, tmp_path):
    sampler = toy.Sampler()
    with pytest.raises(DataError, match="there are no problems"):
        sample(toy, tmp_path, sampler, problems=[])
    sample(toy, tmp_path / "made", problems=toy.problems(2))
    with pytest.raises(OutputError, match="other settings: model "):
        sample(toy, tmp_path / "made", sampler, problems=toy.problems(2), context={"model": "another"})
    assert sampler.sampled == []
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="cannot write"):
        run(toy, model, tmp_path / "file" / "out", traces=[])


def test_nothing_left_after_the_gates_says_where_it_went(toy, model, tmp_path):
    with pytest.raises(DataError, match=r"no response passes the gates \(64 responses sampled: .* 0 kept\); use more"):
        run(toy, model, tmp_path / "a", settings=DiscoverySettings(4, 80, min_steps=9))
    one_sided = FunctionLabeler(lambda question, response, steps: ["redundant"] * len(steps), "one-sided")
    with pytest.raises(DataError, match=r"belong to 0 problems.*without an essential and a redundant step, 0 kept"):
        run(toy, model, tmp_path / "b", labeler=one_sided)
    short = FunctionLabeler(lambda question, response, steps: ["redundant"], "short")
    with pytest.raises(DataError, match="1 labels for"):
        run(toy, model, tmp_path / "c", labeler=short)


@pytest.mark.parametrize(
    "change",
    [{"num_heads": 0}, {"select_share": 1.0}, {"min_pass_rate": 1.5}, {"selection": "best"}, {"batch_size": 0}],
)
def test_settings_out_of_range_are_named(change):
    with pytest.raises(ConfigError, match=next(iter(change))):
        DiscoverySettings(**change)


def synthetic(n_problems: int, seed: int = 0):
    """Responses of two essential and two redundant steps of equal length; head 2 of six knows the truth, with noise."""
    rng = np.random.default_rng(seed)
    rollouts, scores = [], []
    for i in range(n_problems):
        labels = rng.permutation(["essential", "essential", "redundant", "redundant"])
        steps = tuple(Step((k, k + 1), (10 * k, 10 * k + 10), label=str(label)) for k, label in enumerate(labels))
        rollouts.append(Rollout(f"p{i}", "q", "1", 0, tuple(range(50)), "", True, True, steps, (40, 49), pass_rate=1.0))
        noise = rng.random((4, 6)).astype(np.float32)
        # Attention spread evenly over the response scores |F| / |o| = 0.18 on every step.
        noise[:, 2] = 0.18 + 0.1 * ((labels == "essential") - 0.5) + 0.02 * rng.normal(size=4)
        scores.append(noise)
    return rollouts, scores


def analyse_synthetic(rollouts, scores, selecting, **changes):
    return analyse(
        rollouts,
        scores,
        selecting,
        DiscoverySettings(resamples=200, **changes),
        gates=GateCounts(sampled=len(rollouts), kept=len(rollouts)),
        heads=[Head(layer, head) for layer in range(3) for head in range(2)],
        layers_and_heads=(3, 2),
        names={"model": "m", "dataset": "d", "labeler": "l"},
    )


def test_a_head_that_knows_the_truth_is_found_and_proven():
    rollouts, scores = synthetic(60)
    result = analyse_synthetic(rollouts, scores, {f"p{i}" for i in range(30)})
    assert result.chosen == [(1, 0)]  # row-major index 2 of 3 × 2
    assert result.chosen_sra.value > 0.95
    assert result.pairs_report == result.pairs_report_length_matched == 120
    assert result.chosen_sra_length_matched == result.chosen_sra
    assert result.trivial["shorter first"].sra == Interval(value=0.5, low=0.5, high=0.5)
    assert result.proven
    assert result.verdict.startswith("Proven: heads (1, 0) reach SRA")
    assert result.relative_attention[1][0] == pytest.approx(1.0, abs=0.05)
    accuracy = {cell: interval.value for cell, interval in result.credit_accuracy.items()}
    assert accuracy["PA redundant"] > 0.95
    assert accuracy["NA essential"] > 0.95
    assert max(accuracy["PA essential"], accuracy["NA redundant"]) < 0.05


def test_heads_are_chosen_on_one_half_and_reported_on_the_other():
    rollouts, scores = synthetic(60)
    for rollout, row in zip(rollouts, scores, strict=True):
        if int(rollout.problem_id[1:]) >= 30:
            row[:, 2] = 0.5  # on the other half the head says nothing
    result = analyse_synthetic(rollouts, scores, {f"p{i}" for i in range(30)})
    assert result.chosen == [(1, 0)]
    assert result.greedy[0].sra_select > 0.95
    assert result.chosen_sra == Interval(value=0.5, low=0.5, high=0.5)
    assert not result.proven


def test_a_head_that_only_follows_length_is_not_proven():
    rng = np.random.default_rng(1)
    rollouts, scores = [], []
    for i in range(80):
        # Essential steps are mostly shorter; the head reads nothing but the length.
        lengths = [int(rng.integers(4, 12)), int(rng.integers(4, 20))]
        order = rng.permutation(2)
        steps, start = [], 0
        for k in order:
            label = ("essential", "redundant")[k]
            steps.append(Step((start, start + 1), (start, start + lengths[k]), label=label))
            start += lengths[k]
        rollouts.append(
            Rollout(
                f"p{i}",
                "q",
                "1",
                0,
                tuple(range(start + 9)),
                "",
                True,
                True,
                tuple(steps),
                (start, start + 8),
                pass_rate=1.0,
            )
        )
        scores.append(np.array([[1 / lengths[k]] * 6 for k in order], dtype=np.float32))
    result = analyse_synthetic(rollouts, scores, {f"p{i}" for i in range(40)})
    assert result.chosen_sra.low > 0.5
    assert not result.proven
    assert result.verdict.startswith("Not proven: heads (0, 0)")


def interval(low, value, high):
    return Interval(value=value, low=low, high=high)


@pytest.mark.parametrize(
    ("matched", "rule", "proven", "words"),
    [
        (interval(0.9, 0.94, 0.96), interval(0.5, 0.6, 0.7), True, "best trivial rule, 'rule', has 60.0"),
        (interval(0.65, 0.8, 0.9), interval(0.5, 0.6, 0.7), False, "not clearly above the rule 'rule'"),
        (interval(0.45, 0.6, 0.7), interval(0.3, 0.35, 0.4), False, "not clearly above chance"),
        (None, None, False, "but only 0 problems have pairs of steps of like length"),
    ],
)
def test_the_verdict_follows_the_intervals_on_length_matched_pairs(matched, rule, proven, words):
    trivial = {"rule": RuleResult(sra=interval(0.5, 0.6, 0.7), sra_length_matched=rule)}
    found, sentence = judge([(2, 0)], interval(0.8, 0.9, 0.95), matched, trivial, problems=20 if matched else 0)
    assert found is proven
    assert words in sentence


def test_a_handful_of_problems_proves_nothing():
    rollouts, scores = synthetic(60)
    result = analyse_synthetic(rollouts, scores, {f"p{i}" for i in range(41)})
    assert result.problems_report_length_matched == 19
    assert result.chosen_sra_length_matched.low > 0.9
    assert not result.proven
    assert "only 19 problems have pairs of steps of like length; 20 are needed" in result.verdict


def test_relative_attention_is_one_under_even_attention():
    rollouts, scores = synthetic(3)
    even = [np.full_like(row, 9 / 50) for row in scores]
    assert relative_attention(rollouts, even).tolist() == pytest.approx([1.0] * 6)


def test_a_malformed_discovery_file_names_the_field(toy, model, tmp_path):
    with pytest.raises(DataError, match="no such file; make it with `attnpo discover`"):
        DiscoveryResult.load(tmp_path / "discovery.json")
    run(toy, model, tmp_path)
    stored = json.loads((tmp_path / "discovery.json").read_text())
    stored["chosen_sra"]["low"] = "x"
    (tmp_path / "discovery.json").write_text(json.dumps(stored))
    with pytest.raises(DataError, match=r"discovery.json: field chosen_sra.low: "):
        DiscoveryResult.load(tmp_path / "discovery.json")
