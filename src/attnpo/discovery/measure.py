"""What is measured of a head set on labelled traces: SRA with intervals, ties, trivial rules, credit accuracy, verdict.

Discovery reports it on the half of the problems that the heads were not chosen on, `--verify` on new traces.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from attnpo.attention import Head
from attnpo.credit import CreditSettings
from attnpo.discovery.ranking import PairTable, pair_table, wins
from attnpo.discovery.result import RuleResult, judge
from attnpo.discovery.settings import DiscoverySettings
from attnpo.discovery.signals import credited, rule_result, signal_result
from attnpo.errors import DataError
from attnpo.rollouts import Rollout
from attnpo.signals import StepScores, build_signal, known_scores, rules
from attnpo.signals.all_heads import AllHeads
from attnpo.signals.heads import Heads, HeadsRanked
from attnpo.statistics import Interval, ratio_intervals

Scores = Sequence[NDArray[np.float32]]
# Pairs handled at a time, so that memory does not grow with pairs × heads in float64.
_CHUNK = 8192


@dataclass(frozen=True)
class HeadSetMeasures:
    """A head set on labelled traces. N heads were read, the set is some of them.

    Attributes:
        sra: SRA of the set's ensemble, interval over problems.
        sra_length_matched: the same on length-matched pairs, None where there are none.
        ties: share of the pairs whose steps the ensemble scores alike; each counts ½ in the SRA.
        pairs: (essential, redundant) pairs.
        pairs_length_matched: those of like length.
        problems: problems that the pairs come from.
        problems_length_matched: problems that length-matched pairs come from.
        per_head: SRA of each of the N heads alone.
        ties_per_head: share of tied pairs of each.
        trivial: rankings that need no choice of heads, by name.
        signals: rival step signals, by name.
        credit_accuracy: shares of essential and redundant tokens that PA would attenuate and NA protect.
        proven: whether the set beats chance and every trivial rule on length-matched pairs of enough problems.
        verdict: the same in a sentence.
    """

    sra: Interval
    sra_length_matched: Interval | None
    ties: float
    pairs: int
    pairs_length_matched: int
    problems: int
    problems_length_matched: int
    per_head: list[Interval]
    ties_per_head: list[float]
    trivial: dict[str, RuleResult]
    signals: dict[str, RuleResult]
    credit_accuracy: dict[str, Interval]
    proven: bool
    verdict: str


def measure(
    rollouts: Sequence[Rollout],
    scores: Scores,
    chosen: Sequence[int],
    heads: Sequence[Head],
    settings: DiscoverySettings,
    *,
    random_scores: Scores | None = None,
    random_chosen: Sequence[int] | None = None,
    signal_scores: Mapping[str, StepScores] | None = None,
    credit: CreditSettings | None = None,
) -> HeadSetMeasures:
    """Measure a head set, and other signals beside it, on labelled traces that it was not chosen on.

    The trivial rules are signals that read no pass (`attnpo.signals.rules`), the mean of all heads, and heads of a
    random-initialised copy of the model.

    Query heads that share their keys (grouped-query attention) are heads of their own here: they ask different
    questions of the same keys.

    Args:
        rollouts: labelled, correct responses.
        scores: per response (K steps, N heads).
        chosen: columns of the head set.
        heads: the head of each column.
        settings: level, resamples and seed of the intervals.
        random_scores: the same responses scored by a random-initialised copy of the model; two more trivial rules.
        random_chosen: columns chosen for that copy, on other traces, the way the set was chosen; None takes the set's.
        signal_scores: by name of a rival signal, per response (K,) scores.
        credit: settings of Eq. 6-8 for the credit accuracy; None takes the published ones.

    Raises:
        DataError: no response has both an essential and a redundant step.
    """
    pairs = labelled_pairs(rollouts, scores)
    chosen_scores = ensemble(scores, chosen)
    trivial = {
        str(build_signal(name).rule): signal_result(build_signal(name), rollouts, own, settings, credit)
        for name, own in known_scores(rules(), rollouts).items()
    }
    trivial |= {str(AllHeads.rule): _all_heads(rollouts, scores, pairs, settings, credit)}
    ranked = HeadsRanked()
    rivals = {ranked.name: signal_result(ranked, rollouts, chosen_scores, settings, credit)}
    for name, own in (signal_scores or {}).items():
        rivals[name] = signal_result(build_signal(name), rollouts, own, settings, credit)
    if random_scores is not None:
        random_pairs = labelled_pairs(rollouts, random_scores)
        name, columns = ("random model", random_chosen) if random_chosen else ("random model, same heads", chosen)
        trivial[name] = rule_result(pairs, random_pairs.ensemble(columns), settings)
        trivial["random model, all heads"] = rule_result(pairs, random_pairs.ensemble(range(len(heads))), settings)
    ensemble_M = pairs.ensemble(chosen)
    ours = rule_result(pairs, ensemble_M, settings)
    matched_M = pairs.length_matched_M
    matched_problems = len(np.unique(pairs.problems_M[matched_M]))
    proven, verdict = judge(
        [(heads[n].layer, heads[n].head) for n in chosen], ours.sra, ours.sra_length_matched, trivial, matched_problems
    )
    return HeadSetMeasures(
        sra=ours.sra,
        sra_length_matched=ours.sra_length_matched,
        ties=float((ensemble_M == 0).mean()),
        pairs=len(pairs),
        pairs_length_matched=int(matched_M.sum()),
        problems=len(np.unique(pairs.problems_M)),
        problems_length_matched=matched_problems,
        per_head=sra_intervals(pairs, settings.level, settings.resamples, settings.seed),
        ties_per_head=(pairs.differences_MN == 0).mean(axis=0).tolist(),
        trivial=trivial,
        signals=rivals,
        credit_accuracy=credited(Heads(), rollouts, chosen_scores, settings, credit),
        proven=proven,
        verdict=verdict,
    )


def _all_heads(
    rollouts: Sequence[Rollout],
    scores: Scores,
    pairs: PairTable,
    settings: DiscoverySettings,
    credit: CreditSettings | None,
) -> RuleResult:
    every = range(scores[0].shape[1])
    accuracy = credited(AllHeads(), rollouts, ensemble(scores, every), settings, credit)
    return rule_result(pairs, pairs.ensemble(every), settings).model_copy(update={"credit_accuracy": accuracy})


def labelled_pairs(rollouts: Sequence[Rollout], scores: Scores) -> PairTable:
    """Return the pairs of labelled responses.

    Raises:
        DataError: there are none.
    """
    pairs = pair_table(rollouts, scores) if rollouts else None
    if pairs is None or not len(pairs):
        raise DataError(
            f"of {len(rollouts)} responses none has both an essential and a redundant step; label more responses, or "
            "responses with more steps"
        )
    return pairs


def ensemble(scores: Scores, columns: Sequence[int]) -> list[NDArray[np.float64]]:
    """Return per response (K,) ensemble scores of some columns (AttnPO, Eq. 2)."""
    return [scores_KN[:, list(columns)].mean(axis=1, dtype=np.float64) for scores_KN in scores]


def sra_intervals(pairs: PairTable, level: float = 0.95, resamples: int = 2000, seed: int = 0) -> list[Interval]:
    """Return the SRA of every head (column) with its interval over problems.

    All heads share the resamples; each interval is the one that `sra_interval` gives for that head alone. Wins are
    summed by problem first, so the cost of a resample does not grow with the number of pairs.
    """
    n_problems = int(pairs.problems_M.max()) + 1
    won_CN = np.zeros((n_problems, pairs.differences_MN.shape[1]))
    for start in range(0, len(pairs), _CHUNK):
        rows = slice(start, start + _CHUNK)
        np.add.at(won_CN, pairs.problems_M[rows], wins(pairs.differences_MN[rows]))
    counts_C = np.bincount(pairs.problems_M, minlength=n_problems)
    present_C = counts_C > 0
    found = ratio_intervals(won_CN[present_C], counts_C[present_C, None], level=level, n_resamples=resamples, seed=seed)
    return [interval for interval in found if interval is not None]
