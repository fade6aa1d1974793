"""The causal effect of a step: what the model's own answer loses when the step is deleted.

    effect(s_k) = log p(F | prompt, trace) − log p(F | prompt, trace without s_k)

in nats, teacher-forced on the response's own token ids. Steps that say the same hide each other: with either one gone
the other still carries the answer. `eliminate` uncovers them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from attnpo.labeling.causal.deletion import Trace
from attnpo.labeling.causal.scorer import Prefix, Variant, VariantScorer
from attnpo.labeling.causal.settings import Target
from attnpo.statistics import Floats


@dataclass(frozen=True)
class Elimination:
    """What became of the steps of one response.

    Attributes:
        effects: (K,) effect of each step; NaN for steps that own no token.
        deleted: the steps found dispensable together.
    """

    effects: Floats
    deleted: tuple[int, ...]


def open_trace(scorer: VariantScorer, trace: Trace) -> Prefix:
    """Run the whole response once; log-probabilities reach back to the first step."""
    whole = trace.without(())
    return scorer.open(whole, len(whole) - len(trace.prompt) - len(trace.before))


def logprobs_without(
    scorer: VariantScorer, prefix: Prefix, trace: Trace, deletions: Sequence[Sequence[int]], scored: Sequence[int]
) -> list[Floats]:
    """Return the log-probabilities of each shortened response's last tokens.

    Args:
        scorer: the model.
        prefix: the whole response, opened.
        trace: the response.
        deletions: steps to leave out.
        scored: how many of the last tokens to score, for each.
    """
    variants = [Variant(trace.without(deleted), n) for deleted, n in zip(deletions, scored, strict=True)]
    return scorer.score(prefix, variants)


def effects_alone(scorer: VariantScorer, prefix: Prefix, trace: Trace, target: Target) -> Floats:
    """Return (K,) effects of deleting each step alone, NaN for steps that own no token.

    Args:
        scorer: the model.
        prefix: the whole response, opened.
        trace: the response.
        target: the tokens that feel it. For `answer` and `boxed` the effect is the sum over tokens; for `trace`, where
            their number differs from step to step, the mean.
    """
    steps = trace.deletable
    scored = [trace.later_tokens(k) if target == "trace" else len(trace.answer) for k in steps]
    effects_K = np.full(len(trace), np.nan)
    for k, after in zip(steps, logprobs_without(scorer, prefix, trace, [(k,) for k in steps], scored), strict=True):
        lost = prefix.logprobs[len(prefix.logprobs) - len(after) :] - after
        effects_K[k] = lost.mean() if target == "trace" else felt(lost, trace, target)
    return effects_K


def eliminate(
    scorer: VariantScorer, prefix: Prefix, trace: Trace, alone_K: Floats, threshold: float, target: Target
) -> Elimination:
    """Delete steps that the answer does not miss, one after the other, from the last to the first.

    A step whose effect alone is above the threshold stays. Each other step is measured in what is left of the trace,
    and is deleted for good where its effect there is at most the threshold. Whatever repeats a step later goes first,
    so of two steps that say the same the first one stays: what is left is a trace that suffices.

    Args:
        scorer: the model.
        prefix: the whole response, opened; deletions never reach before the step measured, so it serves throughout.
        trace: the response.
        alone_K: effects of deleting each step alone.
        threshold: effect, in nats, up to which the answer does not miss a step.
        target: `answer` or `boxed`.
    """
    effects_K = alone_K.copy()
    deleted: list[int] = []
    answer = len(trace.answer)
    whole = current = felt(prefix.logprobs[-answer:], trace, target)
    for k in reversed(trace.deletable):
        if alone_K[k] > threshold:
            continue
        if deleted:
            after = felt(logprobs_without(scorer, prefix, trace, [(*deleted, k)], [answer])[0], trace, target)
        else:
            after = whole - alone_K[k]
        effects_K[k] = current - after
        if effects_K[k] <= threshold:
            deleted.append(k)
            current = after
    return Elimination(effects_K, tuple(sorted(deleted)))


def felt(logprobs: Floats, trace: Trace, target: Target) -> float:
    """Return the sum over the target's tokens of something known of each token of F."""
    return float(logprobs[list(trace.boxed)].sum() if target == "boxed" else logprobs.sum())
