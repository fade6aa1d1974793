"""A world small enough to enumerate: responses of a few tokens, each token a step, with exact expectations."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence

import torch
from transformers import Qwen2Config, Qwen2ForCausalLM

from attnpo.rollouts import Rollout, Step

REDUNDANT, ESSENTIAL, END = 0, 1, 2
"""The vocabulary: what a token says is what it is."""
LABELS = {REDUNDANT: "redundant", ESSENTIAL: "essential"}
WANTED: dict[str, Callable[[tuple[int, ...]], float]] = {
    "accuracy": lambda ids: float(ids.count(ESSENTIAL) == 1),
    "length": lambda ids: -float(len(ids)),
    "redundant tokens": lambda ids: -float(ids.count(REDUNDANT)),
    "essential tokens": lambda ids: -float(ids.count(ESSENTIAL)),
}
"""Credit → what its mean gradient is to be the gradient of."""


def small_transformer() -> Qwen2ForCausalLM:
    """Return a model of these three tokens, with random weights."""
    torch.manual_seed(5)
    config = Qwen2Config(
        vocab_size=3, hidden_size=8, intermediate_size=12, num_hidden_layers=1, num_attention_heads=2,
        num_key_value_heads=1, max_position_embeddings=16, tie_word_embeddings=True, initializer_range=0.3,
    )  # fmt: skip
    return Qwen2ForCausalLM(config).eval()


def all_responses(most: int) -> Iterator[tuple[int, ...]]:
    """Yield every response of at most `most` tokens: ended, or cut at the limit."""
    for length in range(most):
        for ids in itertools.product((REDUNDANT, ESSENTIAL), repeat=length):
            yield (*ids, END)
    yield from itertools.product((REDUNDANT, ESSENTIAL), repeat=most)


def rollout(ids: Sequence[int], problem: str = "p", sample: int = 0) -> Rollout:
    """Return a response with its verdict, its steps and their labels."""
    ids = tuple(ids)
    steps = [
        Step((place, place + 1), (place, place + 1), label=LABELS[token])  # type: ignore[arg-type]
        for place, token in enumerate(ids)
        if token != END
    ]
    return Rollout(
        problem_id=problem,
        prompt="?",
        solution="",
        sample=sample,
        response_ids=ids,
        response="".join(map(str, ids)),
        finished=ids[-1] == END,
        correct=bool(WANTED["accuracy"](ids)),
        steps=tuple(steps),
    )
