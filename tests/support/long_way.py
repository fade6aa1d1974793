"""A training step's loss computed the long way, from sampled rollouts and the paper's equations alone.

Attention comes from `output_attentions=True`, every row on its own and without padding; credit is plain Python.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence
from typing import Any

import torch

from attnpo.rollouts import Rollout


def long_way_loss(
    model: Any,
    tokenizer: Any,
    rollouts: Sequence[Rollout],
    heads: Sequence[tuple[int, int]],
    *,
    method: str = "attnpo",
    alpha_len: float = 0.2,
) -> torch.Tensor:
    """Token-mean policy-gradient loss of one on-policy step; schedule over."""
    groups: dict[str, list[Rollout]] = defaultdict(list)
    for rollout in rollouts:
        groups[rollout.problem_id].append(rollout)
    total_tokens = sum(r.n_tokens for r in rollouts)
    loss = torch.zeros((), dtype=torch.float64)
    for group in groups.values():
        advantages, pass_rate = _advantages(group, alpha_len)
        for rollout, advantage in zip(group, advantages, strict=True):
            prompt = tokenizer.apply_chat_template(rollout.prompt, add_generation_prompt=True, return_dict=False)
            ids = torch.tensor([prompt + list(rollout.response_ids)])
            output = model(input_ids=ids, output_attentions=True)
            logps = output.logits[0, :-1].double().log_softmax(-1)
            scores = _scores(output.attentions, rollout, len(prompt), heads)
            gammas = _gammas(rollout, scores, advantage, pass_rate) if method == "attnpo" else [1.0] * len(scores)
            weight = [1.0] * rollout.n_tokens
            for step, gamma in zip(rollout.steps, gammas, strict=True):
                for token in range(*step.tokens):
                    weight[token] = gamma
            for t, token in enumerate(rollout.response_ids):
                loss = loss - weight[t] * advantage * logps[len(prompt) + t - 1, token] / total_tokens
    return loss


def _advantages(group: list[Rollout], alpha_len: float) -> tuple[list[float], float]:
    lengths = [r.n_tokens for r in group if r.correct]
    mean = sum(lengths) / len(lengths) if lengths else 0.0
    std = math.sqrt(sum((n - mean) ** 2 for n in lengths) / len(lengths)) if lengths else 0.0
    rewards = []
    for rollout in group:
        z = 0.0 if std == 0 else (rollout.n_tokens - mean) / std
        rewards.append((1 - alpha_len / (1 + math.exp(-z))) if rollout.correct else 0.0)
    others = [(sum(rewards) - r) / (len(rewards) - 1) for r in rewards]
    return [r - o for r, o in zip(rewards, others, strict=True)], len(lengths) / len(group)


def _scores(attentions: Any, rollout: Rollout, offset: int, heads: Sequence[tuple[int, int]]) -> list[float]:
    start, end = (offset + position for position in rollout.answer_tokens)
    scores = []
    for step in rollout.steps:
        first, last = (offset + position for position in step.tokens)
        rows = [attentions[layer][0, head, start:end, first:last].detach().double() for layer, head in heads]
        mass = sum(float(row.sum()) for row in rows)
        scores.append(mass / len(heads) / (last - first) if last > first else 0.0)
    return scores


def _gammas(rollout: Rollout, scores: list[float], advantage: float, pass_rate: float) -> list[float]:
    answer = rollout.answer_tokens[1] - rollout.answer_tokens[0]
    if not rollout.correct or len(scores) < 2 or answer == 0:
        return [1.0] * len(scores)
    baseline = pass_rate**2 * answer / rollout.n_tokens
    delta = 1 - pass_rate**2
    gammas = []
    for score in scores:
        if advantage > 0 and score < baseline:
            gammas.append((1 - delta) * score / baseline + delta)
        else:
            gammas.append(0.0 if advantage < 0 and score > baseline else 1.0)
    return gammas
