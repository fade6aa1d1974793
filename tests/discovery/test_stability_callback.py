"""The probe inside real training runs on the small world."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from probe_set import probe_set
from small_training import config
from transformers import AutoModelForCausalLM, AutoTokenizer

from attnpo.attention import Head, HeadSet, resolve_heads
from attnpo.discovery.evidence import StabilityResult
from attnpo.discovery.probe import ProbeSettings
from attnpo.discovery.stability import Intervals
from attnpo.discovery.stability_callback import StabilityCallback
from attnpo.errors import ConfigError, OutputError
from attnpo.signals import score_steps
from attnpo.tinyworld import checkpoint_path, train_dataset
from attnpo.training import AttnPOTrainer

QUICK = Intervals(resamples=50)
TRAINING = {"max_completion_length": 48, "per_device_train_batch_size": 4, "gradient_accumulation_steps": 1}


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    torch.set_num_threads(1)


@pytest.fixture(scope="module")
def tokenizer():
    return AutoTokenizer.from_pretrained(checkpoint_path())


@pytest.fixture(scope="module")
def probe(tokenizer):
    return probe_set(tokenizer)


def build(tokenizer, output_dir, probe=None, settings=None, **changes):
    model = AutoModelForCausalLM.from_pretrained(checkpoint_path(), dtype=torch.float32)
    args = config(output_dir, **{**TRAINING, **changes})
    trainer = AttnPOTrainer(model, args, train_dataset(16, seed=5, difficulties=(1,)), processing_class=tokenizer)
    callback = None
    if probe is not None:
        callback = StabilityCallback(
            tokenizer,
            probe,
            trainer.head_set,
            output_dir,
            settings or ProbeSettings(every=2, intervals=QUICK),
            report=trainer.add_metrics,
            on_reselect=trainer.use_heads,
            model_name="tinyworld",
        )
        trainer.add_callback(callback)
    return trainer, callback


def weights(trainer):
    return {name: tensor.clone() for name, tensor in trainer.model.state_dict().items()}


def test_training_is_the_same_with_and_without_the_probe(tokenizer, probe, tmp_path):
    plain, _ = build(tokenizer, tmp_path / "plain", max_steps=3)
    plain.train()
    # It logs seldom: a line is made at each probe all the same.
    probed, callback = build(tokenizer, tmp_path / "probed", probe, max_steps=3, logging_steps=50)
    inner = callback._score

    def watched(model, heads):
        before = torch.random.get_rng_state(), [module.training for module in model.modules()]
        found = inner(model, heads)
        assert torch.equal(torch.random.get_rng_state(), before[0])
        assert [module.training for module in model.modules()] == before[1]
        assert all(parameter.grad is None for parameter in model.parameters())
        return found

    callback._score = watched
    probed.train()
    for name, tensor in weights(plain).items():
        assert torch.equal(probed.model.state_dict()[name], tensor), name

    result = StabilityResult.load(tmp_path / "probed" / "stability.json")
    assert [point.step for point in result.points] == [0, 2, 3]  # every second step and the last one
    assert result.points[0].pearson.value == pytest.approx(1.0)
    lines = (tmp_path / "probed" / "stability.jsonl").read_text().splitlines()
    assert [json.loads(line)["step"] for line in lines] == [0, 2, 3]
    logged = {row["step"]: row for row in probed.state.log_history if "probe/sra" in row}
    assert set(logged) == {2, 3}
    for point in result.points[1:]:
        assert logged[point.step]["probe/sra"] == point.sra.value
        assert logged[point.step]["probe/pearson"] == point.pearson.value
        assert logged[point.step]["attnpo/accuracy"] >= 0
    heads = [Head(2, 0), Head(1, 1)]
    scores = score_steps(probed.model, tokenizer, probe, heads)
    with np.load(tmp_path / "probed" / "probe_start.npz") as stored:
        start = stored["scores"]
    x, y = np.concatenate(scores).mean(axis=1, dtype=np.float64), start.mean(axis=1, dtype=np.float64)
    assert result.points[-1].pearson.value == pytest.approx(np.corrcoef(x, y)[0, 1])
    assert result.points[-1].heads == [(2, 0), (1, 1)]
    carried = HeadSet.load(tmp_path / "probed" / "heads_probed.json")
    assert carried.heads == probed.head_set.heads
    evidence = carried.evidence["stability"]
    assert evidence["points"] == 3
    assert evidence["last"]["pearson"]["value"] == result.points[-1].pearson.value


def test_heads_are_exchanged_under_the_bound_and_a_resumed_run_keeps_them(tokenizer, probe, tmp_path, caplog):
    settings = ProbeSettings(every=1, min_sra=0.9, reselect=True, intervals=QUICK)
    saving = {"save_strategy": "steps", "save_steps": 2, "heads": "0.0,0.1", "max_steps": 3}
    trainer, callback = build(tokenizer, tmp_path, probe, settings, **saving)
    _break_heads_at(callback, step=1)
    trainer.train()
    result = callback.result
    assert [each.step for each in result.reselections] == [1]
    (chosen,) = result.reselections
    assert chosen.old == [(0, 0), (0, 1)]
    assert chosen.new != chosen.old
    assert chosen.sra_new > chosen.sra_old
    assert [point.heads for point in result.points] == [chosen.old, chosen.old, chosen.new, chosen.new]
    assert result.points[2].sra.value > 0.9
    assert len(result.warnings) == 1
    assert [tuple(h) for h in trainer.credit_heads] == chosen.new
    assert HeadSet.load(tmp_path / "heads-1.json") == trainer.head_set
    carried = HeadSet.load(tmp_path / "heads_probed.json")
    assert [tuple(head) for head in carried.heads] == chosen.new
    assert carried.evidence["reselected_at_step"] == 1
    assert [message.split(":")[1] for message in caplog.messages if message.startswith("probe")] == [" step 1"] * 2
    assert "take the place of 0.0, 0.1" in caplog.messages[-1]
    trained = weights(trainer)

    resumed, fresh = build(tokenizer, tmp_path, probe, settings, **saving)
    assert [tuple(h) for h in resumed.credit_heads] == chosen.old
    resumed.train(resume_from_checkpoint=str(tmp_path / "checkpoint-2"))
    assert [tuple(h) for h in resumed.credit_heads] == chosen.new
    assert fresh.result == result
    assert StabilityResult.load(tmp_path / "stability.json") == result
    assert len((tmp_path / "stability.jsonl").read_text().splitlines()) == 4
    assert all(torch.equal(weights(resumed)[name], tensor) for name, tensor in trained.items())

    checkpoint = str(tmp_path / "checkpoint-2")
    other, _ = build(tokenizer, tmp_path, probe[1:], settings, **saving)
    with pytest.raises(OutputError, match="another probe set"):
        other.train(resume_from_checkpoint=checkpoint)
    with np.load(tmp_path / "probe_start.npz") as stored:
        few = {**stored, "heads": stored["heads"][:2], "scores": stored["scores"][:, :2]}
    np.savez(tmp_path / "probe_start.npz", **few)
    other, _ = build(tokenizer, tmp_path, probe, settings, **saving)
    with pytest.raises(OutputError, match="does not hold the scores of every head asked for"):
        other.train(resume_from_checkpoint=checkpoint)


def _break_heads_at(callback, step):
    """Up to `step` the heads in force rank like the truth; from there on they say what the model says."""
    inner = callback._score

    def truthful(model, heads):
        scores = inner(model, heads)
        if len(callback.points) < step:
            labels = [[[float(s.label == "essential")] for s in r.steps] for r in callback.rollouts]
            return [s + 10 * np.array(x, dtype=np.float32) for s, x in zip(scores, labels, strict=True)]
        return scores

    callback._score = truthful


def test_heads_that_start_under_the_bound_are_exchanged_at_once(tokenizer, probe, tmp_path):
    settings = ProbeSettings(every=5, min_sra=0.9, reselect=True, intervals=QUICK)
    trainer, callback = build(tokenizer, tmp_path, probe, settings, heads="0.0", max_steps=1)
    trainer.train()
    assert [(each.step, each.old) for each in callback.result.reselections] == [(0, [(0, 0)])]
    assert callback.result.points[-1].heads == [tuple(h) for h in trainer.credit_heads] != [(0, 0)]
    assert len(trainer.credit_heads) == 1


def test_a_method_that_reads_no_attention_has_no_heads_to_exchange(tokenizer, tmp_path):
    trainer, _ = build(tokenizer, tmp_path, method="tlmre")
    assert trainer.head_set is None
    with pytest.raises(ConfigError, match="method 'tlmre' reads no attention"):
        trainer.use_heads("2.0")
    other, _ = build(tokenizer, tmp_path)
    other.use_heads([(3, 1)])
    assert other.head_set == resolve_heads("3.1", other.model.config)
    assert [tuple(h) for h in other.credit_heads] == [(3, 1)]
