"""What step signals are worth on labelled traces: Step Ranking Accuracy and credit accuracy of each."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from attnpo.credit import CreditSettings
from attnpo.discovery.credit import credit_accuracy_intervals
from attnpo.discovery.ranking import PairTable, pair_table, ranked_intervals
from attnpo.discovery.result import RuleResult
from attnpo.discovery.settings import DiscoverySettings
from attnpo.rollouts import Rollout
from attnpo.signals import Signal
from attnpo.signals.probe import ProbeWeights, fit_probe
from attnpo.signals.states import probed_layer
from attnpo.statistics import Interval


def signal_result(
    signal: Signal,
    rollouts: Sequence[Rollout],
    scores: Sequence[NDArray[np.floating]],
    settings: DiscoverySettings,
    credit: CreditSettings | None = None,
) -> RuleResult:
    """Return what a signal is worth.

    Args:
        signal: the signal.
        rollouts: labelled, correct responses, at least one with an essential and a redundant step.
        scores: per response (K,) scores in the signal's own unit.
        settings: level, resamples and seed of the intervals.
        credit: settings of Eq. 6-8; None takes the published ones.
    """
    pairs = pair_table(rollouts, [np.asarray(scores_K)[:, None] for scores_K in scores])
    found = rule_result(pairs, pairs.differences_MN[:, 0], settings)
    return found.model_copy(update={"credit_accuracy": credited(signal, rollouts, scores, settings, credit)})


def fitted_probe(
    model: Any, rollouts: Sequence[Rollout], states: Sequence[NDArray[np.floating]], name: str = ""
) -> ProbeWeights:
    """Return a probe that tells essential from redundant steps.

    Args:
        model: the model that the states were read of.
        rollouts: labelled responses to fit to, at least one with an essential and a redundant step.
        states: per response (K, D) mean states of its steps, as `StepStates` reads them.
        name: the model, as the file should name it.
    """
    rows, essential = [], []
    for rollout, states_KD in zip(rollouts, states, strict=True):
        for step, state_D in zip(rollout.steps, states_KD, strict=True):
            if step.label in ("essential", "redundant") and step.tokens[1] > step.tokens[0]:
                rows.append(state_D)
                essential.append(step.label == "essential")
    weights = fit_probe(np.stack(rows), np.array(essential))
    return ProbeWeights(layer=probed_layer(model), weights=weights, model=name, steps=len(rows))


def credited(
    signal: Signal,
    rollouts: Sequence[Rollout],
    scores: Sequence[NDArray[np.floating]],
    settings: DiscoverySettings,
    credit: CreditSettings | None = None,
) -> dict[str, Interval]:
    """Return the credit accuracy of a signal's scores; arguments as of `signal_result`."""
    return credit_accuracy_intervals(
        rollouts,
        scores,
        credit,
        signal=signal,
        level=settings.level,
        resamples=settings.resamples,
        seed=settings.seed,
    )


def rule_result(pairs: PairTable, differences_M: NDArray[np.floating], settings: DiscoverySettings) -> RuleResult:
    """Return the SRA of any ranking, given as differences, on all pairs and on length-matched ones."""
    every, matched = ranked_intervals(pairs, differences_M, settings.level, settings.resamples, settings.seed)
    return RuleResult(sra=every, sra_length_matched=matched)
