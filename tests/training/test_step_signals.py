"""`--signal`: PA and NA by any signal, read in passes that training makes anyway."""

from __future__ import annotations

import copy
from pathlib import Path

import pytest
import torch
from small_training import config

from attnpo.credit import pack_steps
from attnpo.credit.methods.attnpo import AttnPO
from attnpo.credit.methods.catalogue import needs
from attnpo.errors import ConfigError
from attnpo.rollouts import read_rollouts
from attnpo.signals import build_signal, score_signals
from attnpo.signals.position import Earlier
from attnpo.signals.probe import ProbeWeights

PRESSURE = "benchmarks.hypotheses.pressure:RedundantPressure"
FAST = {"per_device_train_batch_size": 8, "gradient_accumulation_steps": 1, "max_completion_length": 128}


def watched(trainer):
    """Row number -> the step scores that credit is given."""
    seen = {}
    inner = trainer.step_advantages

    def spy(tensors, advantages_B, scores_BK):
        seen.update(zip(tensors["row_ids"].tolist(), scores_BK.detach().clone(), strict=True))
        return inner(tensors, advantages_B, scores_BK)

    trainer.step_advantages = spy
    return seen


@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("log_prob", {"temperature": 0.8}),
        ("log_prob", {"num_iterations": 2}),
        ("entropy_low", {"num_iterations": 2}),
        ("think_close", {}),
        ("fai", {}),
        ("waad", {"num_iterations": 2}),
        ("flow_tracer", {}),
        ("flow_tracer", {"num_iterations": 2}),
        ("own_signals:Attached", {}),
        ("own_signals:Thirds", {}),
        ("random", {"seed": 3}),
        ("earlier", {}),
        ("oracle", {}),
        ("probe.json", {"num_iterations": 2}),
    ],
)
def test_credit_is_given_what_one_looks_up_afterwards(make_trainer, model, tokenizer, tmp_path, name, settings):
    """Scores under the untrained policy, whichever pass they are read in; no pass is made for them."""
    before, passes = copy.deepcopy(model), []
    if name == "probe.json":
        name = str(tmp_path / name)
        ProbeWeights(layer=2, weights=torch.linspace(-1, 1, model.config.hidden_size).tolist()).save(Path(name))
    trainer = make_trainer(signal=name, heads=None, save_rollouts=True, pack_micro_batches=False, **FAST, **settings)
    trainer.model.register_forward_pre_hook(lambda module, args: passes.append(1) if module.training else None)
    seen = watched(trainer)
    trainer.train()
    rollouts = list(read_rollouts(trainer.rollouts_path))
    assert sorted(seen) == list(range(8))
    assert len(passes) == (2 if "num_iterations" in settings else 1)
    check_given(seen, before, tokenizer, rollouts, name, settings.get("temperature", 1.0), settings.get("seed", 42))


def check_given(seen, model, tokenizer, rollouts, name, temperature=1.0, seed=42):
    """Scores that credit was given are those of the signal."""
    signal = build_signal(name, seed=seed)
    scores = score_signals(model, tokenizer, rollouts, [signal], temperature=temperature)[signal.name]
    steps = pack_steps(rollouts, scores)
    expected = signal.for_credit(steps.scores_BK, steps)
    given = torch.stack([seen[row] for row in range(8)])
    torch.testing.assert_close(given, expected[:, : given.shape[1]], equal_nan=True, rtol=1e-4, atol=1e-5)
    assert (given.nan_to_num() > 0).any()


@pytest.mark.parametrize(("name", "heads"), [("fai", 8), ("heads", 2), ("log_prob", None)])
def test_what_a_reading_costs_is_counted(make_trainer, name, heads):
    """Attention logits computed for the signal, in units of those of the pass: 4 layers of 4 heads."""
    own = {} if name == "heads" else {"heads": None}
    trainer = make_trainer(signal=name, save_rollouts=True, pack_micro_batches=False, **own, **FAST)
    widths = []

    def note(module, args, options):
        if module.training:
            widths.append(options["input_ids"].shape[1])

    trainer.model.register_forward_pre_hook(note, with_kwargs=True)
    trainer.train()
    (line,) = [row for row in trainer.state.log_history if "attnpo/steps_per_response" in row]
    if heads is None:
        assert "attnpo/extra_attention" not in line
        return
    rollouts, (width,) = list(read_rollouts(trainer.rollouts_path)), widths
    answered = [r for r in rollouts if r.steps and r.answer_tokens[1] > r.answer_tokens[0]]
    queries = sum(r.answer_tokens[1] - r.answer_tokens[0] for r in answered)
    if name == "fai":  # every token from the first step on
        queries = sum(r.n_tokens - r.steps[0].tokens[0] for r in rollouts if r.steps)
    expected = queries * width * heads / (len(rollouts) * width**2 * 16)
    assert line["attnpo/extra_attention"] == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize(("name", "is_read"), [("log_prob", True), ("earlier", False)])
def test_rewards_that_read_steps_take_any_signal(make_trainer, model, tokenizer, name, is_read):
    """A pass of its own only for what is read in one."""
    before = copy.deepcopy(model)
    trainer = make_trainer(method=PRESSURE, signal=name, heads=None, save_rollouts=True, **FAST)
    seen = watched(trainer)
    trainer.train()
    check_given(seen, before, tokenizer, list(read_rollouts(trainer.rollouts_path)), name)
    rows = [row for row in trainer.state.log_history if "attnpo/extra_pass_tokens" in row]
    assert (rows[-1]["attnpo/extra_pass_tokens"] > 0) == is_read


def test_the_oracle_signal_is_the_oracle_method(make_trainer):
    """Undecided steps keep gamma 1 either way."""
    credit = {}
    for method, more in (("oracle", {}), ("attnpo", {"signal": "oracle"})):
        trainer = make_trainer(method=method, heads=None, learning_rate=0.0, **more, **FAST)
        inner = trainer.step_advantages

        def spy(tensors, advantages_B, scores_BK, inner=inner, method=method):
            credit[method] = inner(tensors, advantages_B, scores_BK)
            return credit[method]

        trainer.step_advantages = spy
        trainer.train()
    torch.testing.assert_close(credit["oracle"], credit["attnpo"], rtol=0, atol=0)
    assert credit["oracle"].ndim == 2


def test_what_a_signal_lacks_is_said_before_the_model_is_loaded(make_trainer):
    with pytest.raises(ConfigError, match=r"^signal: 'entropy' is unknown; use one of heads, "):
        config("unused", signal="entropy")
    with pytest.raises(ConfigError, match=r"^signal: method 'tlmre' reads no step scores; drop it, or use method att"):
        config("unused", signal="log_prob", method="tlmre")
    with pytest.raises(ConfigError, match=r"^step_labeler: signal 'oracle' needs step labels; name a module:function"):
        make_trainer(signal="oracle", labeler=None)
    with pytest.raises(
        ConfigError,
        match=r"^heads: method 'attnpo' reads attention and needs .* ships: deepseek-r1-distill-qwen-1\.5b$",
    ):
        make_trainer(signal="heads_ranked", heads=None)


def test_a_run_without_heads_has_none_to_exchange(make_trainer, caplog):
    trainer = make_trainer(signal="log_prob")
    assert trainer.head_set is None
    assert "heads: not read" not in caplog.text  # those of the configuration may be for a probe
    with pytest.raises(ConfigError, match=r"^heads: method 'attnpo' goes by signal 'log_prob'; there are none to exch"):
        trainer.use_heads([(3, 1)])


def test_heads_that_are_given_and_not_read_are_named(make_trainer, caplog):
    make_trainer(signal="log_prob", heads_given=[(3, 1)])
    assert "heads: not read, method 'attnpo' goes by signal 'log_prob'; leave them out" in caplog.text


def test_steps_that_rewards_were_made_of_are_not_scored_again(make_trainer, monkeypatch):
    scored = []
    inner = Earlier.score

    def score(self, seen):
        scored.append(len(seen.step_mask_BK))
        return inner(self, seen)

    monkeypatch.setattr(Earlier, "score", score)
    make_trainer(method=PRESSURE, signal="earlier", heads=None, **FAST).train()
    assert scored == [8]


def test_a_method_may_have_a_signal_of_its_own(make_trainer, monkeypatch):
    monkeypatch.setattr(AttnPO, "signal", "log_prob")
    trainer = make_trainer(heads=None)
    assert trainer.signal.name == "log_prob"
    assert make_trainer(signal="heads").signal.name == "heads"
    assert needs(AttnPO) == ("signal log_prob",)
