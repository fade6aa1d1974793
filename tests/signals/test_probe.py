"""The activation probe: hidden states, its fit, its file."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch

from attnpo.errors import ConfigError, UnsupportedModelError
from attnpo.signals import build_signal, score_signals, signal_of
from attnpo.signals.probe import Probe, ProbeWeights, StepStates, fit_probe
from attnpo.signals.states import probed_layer


@torch.no_grad()
def states_of(model, rollout, layer):
    """(K, D) means over each step of the layer's normalised input, in float64."""
    exact = copy.deepcopy(model).double()
    prompt = [ord(c) for c in rollout.prompt]
    hidden = exact(torch.tensor([[*prompt, *rollout.response_ids]]), output_hidden_states=True).hidden_states[layer]
    inputs = exact.model.layers[layer].input_layernorm(hidden)[0, len(prompt) :].numpy()
    width = inputs.shape[1]
    return np.stack(
        [inputs[a:b].mean(axis=0) if b > a else np.zeros(width) for a, b in (s.tokens for s in rollout.steps)]
    )


def test_states_and_readouts_are_what_brute_force_says(small):
    assert probed_layer(small.model) == 2
    weights = np.random.default_rng(0).normal(size=32)
    probe = Probe(fitted=ProbeWeights(layer=1, weights=weights.tolist()))
    found = score_signals(small.model, small.tokenizer, small.rollouts, [probe, StepStates()], batch_size=3)
    for number, rollout in enumerate(small.rollouts):
        states = states_of(small.model, rollout, 2)
        np.testing.assert_allclose(found["states"][number], states, rtol=1e-3, atol=1e-4)
        expected = states_of(small.model, rollout, 1) @ weights
        np.testing.assert_allclose(found["probe"][number], expected, rtol=1e-3, atol=1e-3)


def test_the_fit_is_where_the_penalised_loss_is_flat():
    rng = np.random.default_rng(1)
    states = rng.normal(size=(60, 4)) * [1.0, 5.0, 0.1, 0.0] + 3.0
    essential = states[:, 1] + rng.normal(size=60) > 3.0
    weights = np.array(fit_probe(states, essential))
    spread = states.std(axis=0)
    assert weights[3] == 0  # says nothing, whatever the others do
    x = (states - states.mean(axis=0))[:, :3] / spread[:3]
    w = weights[:3] * spread[:3]

    def loss(w, b):
        logits = x @ w + b
        return np.logaddexp(0, np.where(essential, -logits, logits)).sum() + (w**2).sum() / 2

    intercept = min(np.linspace(-3, 3, 6001), key=lambda b: loss(w, b))
    best = loss(w, intercept)
    for direction in np.eye(3):
        for nudge in (-0.01, 0.01):
            assert loss(w + nudge * direction, intercept) > best - 1e-6
    assert np.corrcoef(states @ weights, states[:, 1])[0, 1] > 0.9


def test_its_file(tmp_path, small):
    path = tmp_path / "probe.json"
    ProbeWeights(layer=1, weights=[0.5] * 32, model="m", steps=7).save(path)
    assert build_signal(str(path)).known.steps == 7
    assert signal_of("attnpo", str(path)) == str(path)
    build_signal(str(path)).check(small.model)
    ProbeWeights(layer=3, weights=[0.5] * 32).save(path)
    with pytest.raises(
        UnsupportedModelError, match="fitted to layer 3 of a model of 32 dimensions, this one has 3 lay"
    ):
        build_signal(str(path)).check(small.model)
    path.write_text('{"layer": "x", "weights": []}')
    with pytest.raises(ConfigError, match=r"probe\.json: field layer: .*; make it again with `attnpo discover`"):
        build_signal(str(path))
    with pytest.raises(ConfigError, match=r"none\.json"):
        signal_of("attnpo", str(tmp_path / "none.json"))
    with pytest.raises(ConfigError, match=r"probe has weights of its own; give its file \(probe\.json"):
        signal_of("attnpo", "probe")
