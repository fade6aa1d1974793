"""A tiny random model, a few responses to it, and the slow truth: whole attention matrices and logits in float64."""

from __future__ import annotations

import copy
import random
from types import SimpleNamespace

import pytest
import torch
from transformers import Qwen2Config, Qwen2ForCausalLM

from attnpo.rollouts import Rollout, Step


class CharacterTokenizer:
    """One id a character."""

    pad_token_id = 0

    def __call__(self, text: str) -> dict[str, list[int]]:
        return {"input_ids": [ord(c) for c in text]}


def response(number: int, steps: int) -> Rollout:
    """Steps of 1 to 9 tokens (one of none), two tokens of `</think>`, an answer of three, an end token."""
    draw = random.Random(number)
    made, token = [], 0
    for k in range(steps):
        length = 0 if (number, k) == (1, 1) else draw.randrange(1, 10)
        label = draw.choice(["essential", "redundant", "undecided"])
        made.append(Step((k, k + 1), (token, token + length), label=label))
        token += length
    ids = tuple(draw.randrange(2, 128) for _ in range(token + 2 + 3 + 1))
    prompt = "".join(chr(draw.randrange(40, 90)) for _ in range(2 + 3 * number))
    return Rollout(
        f"p{number}", prompt, "1", 0, ids, "", True, True, tuple(made), (token + 2, token + 5), pass_rate=0.5
    )


@torch.no_grad()
def truth(model, rollout) -> SimpleNamespace:
    """Return what one response alone gives in float64: attention (N, L, L), log-probabilities and entropies (T,)."""
    exact = copy.deepcopy(model).double()
    exact.set_attn_implementation("eager")
    prompt = [ord(c) for c in rollout.prompt]
    ids = torch.tensor([[*prompt, *rollout.response_ids]])
    output = exact(input_ids=ids, output_attentions=True, use_cache=False)
    log_probs_LV = output.logits[0].log_softmax(-1)
    places = range(len(prompt), ids.shape[1])
    return SimpleNamespace(
        offset=len(prompt),
        attention=torch.cat([layer[0] for layer in output.attentions]),
        by_layer=[layer[0] for layer in output.attentions],
        log_probs=[float(log_probs_LV[i - 1, ids[0, i]]) for i in places],
        entropies=[float(-(log_probs_LV[i - 1].exp() * log_probs_LV[i - 1]).sum()) for i in places],
    )


def world(layers: int) -> SimpleNamespace:
    torch.manual_seed(0)
    config = Qwen2Config(
        vocab_size=128,
        hidden_size=32,
        intermediate_size=32,
        num_hidden_layers=layers,
        num_attention_heads=4,
        num_key_value_heads=2,
        initializer_range=0.4,
    )
    model = Qwen2ForCausalLM(config).eval()
    rollouts = [response(0, 4), response(1, 6), response(2, 1), response(3, 5)]
    truths = [truth(model, r) for r in rollouts]
    return SimpleNamespace(
        model=model, tokenizer=CharacterTokenizer(), rollouts=rollouts, truths=truths, truth=truth, response=response
    )


@pytest.fixture(scope="session")
def small():
    return world(3)


@pytest.fixture(scope="session")
def deep():
    return world(7)
