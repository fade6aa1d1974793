"""What a discovery run found: `discovery.json`."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, Field

from attnpo.discovery.evidence import Evidence
from attnpo.discovery.gates import GateCounts
from attnpo.statistics import Interval


class EnsembleResult(BaseModel):
    """One ensemble of a selection curve: heads as (layer, head), SRA on both halves of the problems."""

    heads: list[tuple[int, int]]
    sra_select: float
    sra_report: float


class RuleResult(BaseModel):
    """What a ranking of steps is worth on the reported half.

    Attributes:
        sra: its SRA on all pairs.
        sra_length_matched: on length-matched ones; None where there are none.
        credit_accuracy: shares of essential and redundant tokens that PA would attenuate and NA protect by it; empty
            where it was not asked.
    """

    sra: Interval
    sra_length_matched: Interval | None = None
    credit_accuracy: dict[str, Interval] = Field(default_factory=dict)


class DiscoveryResult(Evidence):
    """The evidence behind a head set.

    Heads are chosen on one half of the problems, everything else is measured on the other.

    Attributes:
        model: model that was probed.
        dataset: data set the problems came from.
        labeler: what labelled the steps.
        seed: seed of the run.
        gates: how many responses each gate dropped.
        num_layers: rows of the SRA maps.
        num_heads: columns of the SRA maps.
        num_select: responses that heads were chosen on.
        num_report: responses reported on.
        sra_select: SRA, layers × heads, on the half that heads were chosen on; None where a layer has no softmax
            attention, here and in the other maps.
        sra_report: SRA, layers × heads, on the reported half.
        sra_report_low: lower ends of its intervals over problems.
        sra_report_high: upper ends.
        unreadable_layers: layers without softmax attention to read.
        ties: share of the reported pairs whose steps the head set scores alike; a tie counts ½.
        relative_attention: layers × heads on the reported half: mean score of a labelled step over |F|/|o|, the score
            that attention spread evenly over the response would give. Tells heads of comparable mass from weak ones.
        pairs_report: (essential, redundant) pairs reported on.
        pairs_report_length_matched: those of like length (within 10 %, or one token).
        problems_report_length_matched: problems that these come from.
        greedy: ensembles of 1, 2, … heads by greedy forward selection.
        top: ensembles of the 1, 2, … best single heads.
        chosen: the head set.
        chosen_by: how it was chosen.
        chosen_sra: SRA of its ensemble.
        chosen_sra_length_matched: the same on length-matched pairs (None: there are none).
        best_single_sra: SRA of the head that was best alone on the half heads were chosen on.
        trivial: rankings that need no choice of heads, by name.
        signals: rival step signals by name (`attnpo signals`): what they are worth, not what a head set has to beat.
        labeling: what the labeler says of its work: cost, agreement between judges, threshold.
        traces: where the responses came from: `sampled`, or the file they were read from.
        credit_accuracy: shares of essential and redundant tokens that PA would attenuate and NA protect.
        proven: on length-matched pairs of enough problems the set's interval lies above ½ and above every trivial
            rule's interval.
        verdict: the same in a sentence.
        wall_seconds: time the run took.
    """

    schema_version: Literal[1] = 1
    model: str
    dataset: str
    labeler: str
    seed: int
    gates: GateCounts
    num_layers: int
    num_heads: int
    num_select: int
    num_report: int
    sra_select: list[list[float | None]]
    sra_report: list[list[float | None]]
    sra_report_low: list[list[float | None]] = Field(default_factory=list)
    sra_report_high: list[list[float | None]] = Field(default_factory=list)
    unreadable_layers: list[int] = Field(default_factory=list)
    ties: float = 0.0
    labeling: dict[str, Any] = Field(default_factory=dict)
    traces: str = "sampled"
    relative_attention: list[list[float | None]] = Field(default_factory=list)
    pairs_report: int
    pairs_report_length_matched: int = 0
    problems_report_length_matched: int = 0
    greedy: list[EnsembleResult]
    top: list[EnsembleResult]
    chosen: list[tuple[int, int]]
    chosen_by: Literal["greedy", "top"]
    chosen_sra: Interval
    chosen_sra_length_matched: Interval | None
    best_single_sra: Interval
    trivial: dict[str, RuleResult]
    signals: dict[str, RuleResult] = Field(default_factory=dict)
    credit_accuracy: dict[str, Interval]
    proven: bool
    verdict: str
    wall_seconds: float


MIN_PROBLEMS = 20
"""A bootstrap over fewer problems than this proves nothing: its intervals are too narrow, of width 0 at one problem."""


def judge(
    chosen: list[tuple[int, int]],
    all_pairs: Interval,
    matched: Interval | None,
    trivial: dict[str, RuleResult],
    problems: int,
) -> tuple[bool, str]:
    """Return whether a head set is proven, and the sentence that says so.

    A set is proven when, on length-matched pairs of problems it was not chosen on, its interval lies wholly above ½ and
    above the interval of every trivial rule. Intervals that overlap leave it open; so do length-matched pairs of fewer
    than `MIN_PROBLEMS` problems.

    Args:
        chosen: the heads.
        all_pairs: their SRA.
        matched: their SRA on length-matched pairs, None where there are none.
        trivial: the trivial rules.
        problems: number of problems that have length-matched pairs.
    """
    heads = ", ".join(f"({layer}, {head})" for layer, head in chosen)
    overall = f"SRA {all_pairs.format(1, 100)} % on held-out problems"
    if matched is None or problems < MIN_PROBLEMS:
        return False, (
            f"Not proven: heads {heads} reach {overall}, but only {problems} problems have pairs of steps of "
            f"like length; {MIN_PROBLEMS} are needed."
        )
    on_matched = f"{matched.format(1, 100)} % on length-matched pairs"
    rivals = {name: rule.sra_length_matched for name, rule in trivial.items() if rule.sra_length_matched is not None}
    unbeaten = {name: rival for name, rival in rivals.items() if rival.high >= matched.low}
    if unbeaten:
        name = max(unbeaten, key=lambda name: unbeaten[name].value)
        return False, (
            f"Not proven: heads {heads} reach {overall}, but {on_matched} is not clearly above "
            f"the rule '{name}' ({unbeaten[name].format(1, 100)} %)."
        )
    if matched.low <= 0.5:
        return False, f"Not proven: heads {heads} reach {overall}, but {on_matched} is not clearly above chance."
    best = max(rivals, key=lambda name: rivals[name].value) if rivals else None
    beaten = f"; on these the best trivial rule, '{best}', has {rivals[best].format(1, 100)} %" if best else ""
    return True, f"Proven: heads {heads} reach {overall} and {on_matched}{beaten}."
