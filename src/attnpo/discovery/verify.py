"""A head set's evidence: repeated on new traces, and attached to the head set."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import ValidationError
from rich.progress import Progress

from attnpo.attention import HeadSet, check_readable, readable_heads
from attnpo.credit import CreditSettings
from attnpo.discovery.evidence import (
    Figure,
    InterventionResult,
    StabilityResult,
    TransferResult,
    VerificationResult,
)
from attnpo.discovery.measure import HeadSetMeasures, measure
from attnpo.discovery.random_model import random_copy
from attnpo.discovery.settings import DiscoverySettings
from attnpo.errors import HeadSetError
from attnpo.rollouts import Rollout
from attnpo.signals import rivals, score_signals, score_steps
from attnpo.signals.heads import EachHead
from attnpo.statistics import Interval


def verify_heads(
    head_set: HeadSet,
    model: Any,
    tokenizer: Any,
    rollouts: Sequence[Rollout],
    settings: DiscoverySettings,
    *,
    model_name: str = "",
    dataset_name: str = "",
    labeler_name: str = "",
    credit: CreditSettings | None = None,
    progress: Progress | None = None,
) -> VerificationResult:
    """Measure a head set on traces that it was not found on, and compare with what it says of itself.

    All heads are read, for the rule `all heads`; where `settings.random_model` asks for it a random-initialised copy of
    the model is read as well, at the same heads (`random model, same heads`). Rival signals (`settings.signals`) are
    measured beside the heads.

    Args:
        head_set: the head set.
        model: the model to read.
        tokenizer: renders the prompts.
        rollouts: new labelled, correct responses of the model.
        settings: intervals, batch size, random model, rival signals and the temperature that they are read at.
        model_name: the model, as the result should name it.
        dataset_name: the data set, as the result should name it.
        labeler_name: the labeler, as the result should name it.
        credit: settings of Eq. 6-8 for the credit accuracy; None takes the published ones.
        progress: display, or None.

    Raises:
        ConfigError: a signal is named that has no fitted weights.
        HeadSetError: the heads do not fit the model, or their evidence is malformed.
        UnsupportedModelError: the layer of a head has no softmax attention, or a signal does not fit the model.
        DataError: no response has both an essential and a redundant step.
    """
    start = time.perf_counter()
    head_set.validate_for(model.config)
    check_readable(model, head_set.heads)
    stored = stored_figures(head_set)
    signals = rivals(settings.signals, seed=settings.seed)
    for signal in signals:
        signal.check(model)
    heads, _ = readable_heads(model)
    signal_scores = score_signals(
        model,
        tokenizer,
        rollouts,
        [EachHead(heads), *signals],
        batch_size=settings.batch_size,
        temperature=settings.temperature or 1.0,
        progress=progress,
    )
    scores = signal_scores.pop(EachHead.name)
    random_scores = None
    if settings.random_model:
        random_scores = score_steps(
            random_copy(model, settings.seed),
            tokenizer,
            rollouts,
            heads,
            batch_size=settings.batch_size,
            progress=progress,
            description="random model",
        )
    measured = measure(
        rollouts,
        scores,
        [heads.index(head) for head in head_set.heads],
        heads,
        settings,
        random_scores=random_scores,
        signal_scores=signal_scores,
        credit=credit,
    )
    figures = compare_figures(stored, measured_figures(measured))
    proven_then = head_set.evidence.get("proven")
    return VerificationResult(
        model=model_name,
        dataset=dataset_name,
        labeler=labeler_name,
        heads=[(head.layer, head.head) for head in head_set.heads],
        found_on=head_set.model_id,
        num_responses=len(rollouts),
        pairs=measured.pairs,
        pairs_length_matched=measured.pairs_length_matched,
        problems_length_matched=measured.problems_length_matched,
        ties=measured.ties,
        figures=figures,
        proven_then=proven_then if isinstance(proven_then, bool) else None,
        proven_now=measured.proven,
        verdict=f"{measured.verdict} {_compared(figures)}",
        wall_seconds=time.perf_counter() - start,
    )


def measured_figures(measured: HeadSetMeasures) -> dict[str, Interval | None]:
    """Return everything measured that is an interval, by the names that `stored_figures` uses."""
    figures: dict[str, Interval | None] = {"sra": measured.sra, "sra_length_matched": measured.sra_length_matched}
    rankings = {f"trivial: {name}": rule for name, rule in measured.trivial.items()}
    rankings |= {f"signal: {name}": signal for name, signal in measured.signals.items()}
    for name, ranking in rankings.items():
        figures[name] = ranking.sra
        figures[f"{name}, length-matched"] = ranking.sra_length_matched
    figures.update({f"credit: {cell}": interval for cell, interval in measured.credit_accuracy.items()})
    return figures


def stored_figures(head_set: HeadSet) -> dict[str, Interval | None]:
    """Return the intervals that a head set carries as evidence.

    Raises:
        HeadSetError: an interval is malformed.
    """
    evidence = head_set.evidence
    found: dict[str, Any] = {name: evidence[name] for name in ("sra", "sra_length_matched") if name in evidence}
    for name, rule in _mapping(evidence, "trivial").items():
        found[f"trivial: {name}"] = rule.get("sra") if isinstance(rule, Mapping) else rule
        if isinstance(rule, Mapping) and "sra_length_matched" in rule:
            found[f"trivial: {name}, length-matched"] = rule["sra_length_matched"]
    found.update({f"credit: {cell}": value for cell, value in _mapping(evidence, "credit_accuracy").items()})
    try:
        return {name: None if value is None else Interval.model_validate(value) for name, value in found.items()}
    except ValidationError as error:
        first = error.errors()[0]
        raise HeadSetError(
            f"head set: evidence holds a malformed interval ({first['msg']}); make the file again with "
            "`attnpo discover`"
        ) from error


def compare_figures(then: Mapping[str, Interval | None], now: Mapping[str, Interval | None]) -> list[Figure]:
    """Set stored and new figures side by side, the new ones first and in their order."""
    figures = []
    for name in [*now, *(name for name in then if name not in now)]:
        old, new = then.get(name), now.get(name)
        inside = overlap = None
        if old is not None and new is not None:
            inside = not old.excludes(new.value)
            overlap = old.low <= new.high and new.low <= old.high
        figures.append(Figure(name=name, then=old, now=new, inside=inside, overlap=overlap))
    return figures


def with_evidence(
    head_set: HeadSet,
    *,
    intervention: InterventionResult | None = None,
    stability: StabilityResult | None = None,
    transfer: TransferResult | None = None,
    verification: VerificationResult | None = None,
) -> HeadSet:
    """Return a head set that carries summaries of further evidence; what is not given stays as it was."""
    evidence = dict(head_set.evidence)
    if intervention is not None:
        evidence["intervention"] = intervention.model_dump(
            mode="json", exclude={"schema_version", "heads", "wall_seconds", "sampled_tokens"}
        )
    if stability is not None and stability.points:
        evidence["stability"] = {
            "points": len(stability.points),
            "responses": stability.num_responses,
            "first": _summary(stability, 0),
            "last": _summary(stability, -1),
            "least_sra": min(point.sra.value for point in stability.points),
            "least_pearson": min(point.pearson.value for point in stability.points),
            "warnings": stability.warnings,
            "reselections": [each.model_dump(mode="json") for each in stability.reselections],
        }
    if transfer is not None:
        evidence["transfer"] = {
            "grouped_by": transfer.grouped_by,
            "rows": [row.model_dump(mode="json") for row in transfer.rows],
        }
    if verification is not None:
        evidence["verification"] = verification.model_dump(
            mode="json", exclude={"schema_version", "heads", "found_on", "wall_seconds"}
        )
    return head_set.model_copy(update={"evidence": evidence})


def _summary(stability: StabilityResult, place: int) -> dict[str, Any]:
    return stability.points[place].model_dump(mode="json", include={"step", "name", "sra", "pearson"})


def _mapping(evidence: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    value = evidence.get(name)
    return value if isinstance(value, Mapping) else {}


def _compared(figures: Sequence[Figure]) -> str:
    judged = [figure for figure in figures if figure.inside is not None]
    if not judged:
        return "The head set carries no figures to compare with."
    inside = sum(bool(figure.inside) for figure in judged)
    apart = [figure.name for figure in judged if not figure.overlap]
    words = f"Of {len(judged)} figures that it carries, {inside} lie inside their stored interval"
    return (
        f"{words}; intervals do not overlap for: {', '.join(apart)}." if apart else f"{words}; all intervals overlap."
    )
