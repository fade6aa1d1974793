from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from transformers import Qwen2Config, Qwen2ForCausalLM

from attnpo.collecting import model_fingerprint
from attnpo.discovery.random_model import random_copy
from attnpo.errors import DataError
from attnpo.signals import score_steps


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    config = Qwen2Config(
        vocab_size=128,
        hidden_size=32,
        intermediate_size=32,
        num_hidden_layers=3,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=256,
        initializer_range=0.2,
    )
    return Qwen2ForCausalLM(config).eval()


@pytest.fixture
def rollouts(toy, tmp_path):
    return toy.rollouts(tmp_path, problems=4, samples=2)


def brute_force(model, rollout):
    """Eq. 1 for every head, in float64, from the attention matrices themselves, one unpadded response at a time."""
    prompt = [ord(c) for c in rollout.prompt]
    reader = Qwen2ForCausalLM(model.config).double().eval()
    reader.load_state_dict(model.double().state_dict())
    model.float()
    reader.set_attn_implementation("eager")
    with torch.no_grad():
        attentions = reader(torch.tensor([prompt + list(rollout.response_ids)]), output_attentions=True).attentions
    offset = len(prompt)
    scores = np.zeros((len(rollout.steps), 12))
    for k, step in enumerate(rollout.steps):
        for layer, attention in enumerate(attentions):
            for head in range(4):
                total = 0.0
                for m in range(*rollout.answer_tokens):
                    for n in range(*step.tokens):
                        total += attention[0, head, offset + m, offset + n].item()
                scores[k, layer * 4 + head] = total / (step.tokens[1] - step.tokens[0])
    return scores


def test_all_heads_equal_the_brute_force_reading(model, toy, rollouts):
    assert len({r.n_tokens for r in rollouts}) > 2  # padding is at work
    found = score_steps(model, toy.tokenizer, rollouts, batch_size=3)
    for rollout, scores_KN in zip(rollouts, found, strict=True):
        assert scores_KN.dtype == np.float32
        np.testing.assert_allclose(scores_KN, brute_force(model, rollout), rtol=2e-5)


def test_one_forward_pass_a_batch_and_the_mode_is_put_back(model, toy, rollouts):
    passes = []
    handle = model.register_forward_pre_hook(lambda module, args: passes.append(module.training))
    model.train()
    score_steps(model, toy.tokenizer, rollouts, batch_size=3)
    handle.remove()
    assert passes == [False] * 3  # eight responses by three
    assert model.training
    model.eval()


def test_a_random_copy_shares_nothing_but_the_architecture(model):
    state = torch.random.get_rng_state()
    first, second, other = random_copy(model, 1), random_copy(model, 1), random_copy(model, 2)
    assert torch.equal(torch.random.get_rng_state(), state)
    fingerprints = [model_fingerprint(m) for m in (model, first, second, other)]
    assert fingerprints[1] == fingerprints[2]
    assert len(set(fingerprints)) == 3
    assert first.config.to_dict() == model.config.to_dict()


def test_a_token_that_the_model_does_not_know_is_named(model, rollouts, toy):
    first = rollouts[0]
    beyond = replace(first, response_ids=(*first.response_ids, 128))
    with pytest.raises(DataError, match=f"'{first.problem_id}', sample 0: 128 is no token of this model, .*128"):
        score_steps(model, toy.tokenizer, [*rollouts[1:], beyond])
