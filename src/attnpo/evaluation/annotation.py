"""Responses with the credit a head set would give them: step scores, advantage and gamma, for people to look at."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import replace
from itertools import groupby
from math import isfinite
from typing import Any

import torch
from rich.progress import Progress

from attnpo.attention import Head
from attnpo.credit import CreditSettings, GroupBatch, Method, build_method, pack_steps
from attnpo.rollouts import Rollout
from attnpo.signals import Signal, StepScores, score_signals
from attnpo.signals.heads import EachHead
from attnpo.signals.scoring import are_labelled

logger = logging.getLogger(__name__)


def annotate(
    model: Any,
    tokenizer: Any,
    rollouts: Sequence[Rollout],
    heads: Sequence[Head],
    settings: CreditSettings | None = None,
    *,
    method: str = "attnpo",
    signals: Sequence[Signal] = (),
    temperature: float = 1.0,
    batch_size: int = 16,
    progress: Progress | None = None,
) -> list[Rollout]:
    """Fill step scores, gamma, pass rate and advantage of verified, segmented responses.

    Credit is that of a finished schedule (AttnPO, Eq. 8 with t = infinity): what the method says of each step.

    Args:
        model: the model whose attention is read.
        tokenizer: renders the prompts.
        rollouts: responses; those of one problem follow each other and make up one group.
        heads: the head set.
        settings: settings of the credit; the paper's by default.
        method: a method of `attnpo.credit.METHODS`.
        signals: rival signals to score the steps by as well, on the scale of the heads' scores.
        temperature: of sampling; log-probabilities and entropies are those of it.
        batch_size: responses a forward pass.
        progress: display, or None.

    Returns:
        Copies of the rollouts, in the same order.
    """
    credit = build_method(method, replace(settings or CreditSettings(), schedule=False))
    if not are_labelled(rollouts) and (blind := [s for s in signals if "labels" in s.needs]):
        logger.warning("no step of the traces to show has a label; left out: %s", ", ".join(s.name for s in blind))
        signals = [s for s in signals if s not in blind]
    found = score_signals(
        model,
        tokenizer,
        rollouts,
        [EachHead(heads), *signals],
        batch_size=batch_size,
        temperature=temperature,
        progress=progress,
    )
    ensemble = [scores_KN.mean(axis=1) for scores_KN in found[EachHead.name]]
    judged = [
        r for _, group in groupby(rollouts, key=lambda r: r.problem_id) for r in _with_outcome(list(group), credit)
    ]
    gamma_BK = credit.gamma(pack_steps(judged, ensemble)).tolist()
    annotated = [
        replace(
            rollout,
            steps=tuple(
                replace(step, score=score, gamma=gamma)
                for step, score, gamma in zip(rollout.steps, scores_K.tolist(), gamma_K, strict=False)
            ),
        )
        for rollout, scores_K, gamma_K in zip(judged, ensemble, gamma_BK, strict=True)
    ]
    if not signals:
        return annotated
    on_scale = {signal.name: _on_scale(signal, annotated, found[signal.name]) for signal in signals}
    return [
        replace(
            rollout,
            steps=tuple(
                replace(step, signals={name: rows[b][k] for name, rows in on_scale.items() if isfinite(rows[b][k])})
                for k, step in enumerate(rollout.steps)
            ),
        )
        for b, rollout in enumerate(annotated)
    ]


def _on_scale(signal: Signal, rollouts: Sequence[Rollout], scores: StepScores) -> list[list[float]]:
    steps = pack_steps(rollouts, scores)
    rows: list[list[float]] = signal.for_credit(steps.scores_BK, steps).tolist()
    return rows


def _with_outcome(group: list[Rollout], credit: Method) -> list[Rollout]:
    """Fill pass rate and advantage; alone, a response has no group to be compared with: advantage 0."""
    groups = GroupBatch(
        torch.tensor([[bool(r.correct) for r in group]]),
        torch.tensor([[r.n_tokens for r in group]]),
        torch.tensor([[r.finished for r in group]]),
    )
    advantages = credit.advantages(credit.rewards(groups), groups)[0].tolist()
    pass_rate = float(groups.pass_rate_P)
    return [replace(r, pass_rate=pass_rate, advantage=a) for r, a in zip(group, advantages, strict=True)]
