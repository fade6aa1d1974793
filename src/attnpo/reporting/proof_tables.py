"""Tables of a discovery and its proofs, for terminals."""

from __future__ import annotations

from collections.abc import Sequence

from attnpo.discovery import DiscoveryResult
from attnpo.discovery.evidence import InterventionResult, StabilityResult, TransferResult, VerificationResult
from attnpo.discovery.result import RuleResult
from attnpo.metrics import METRICS, SRA, Metric
from attnpo.tables import Number, Table

SHARE = Metric("SRA", scale=100, digits=1)


def discovery_table(result: DiscoveryResult) -> Table:
    """Return the chosen heads beside the trivial rules and the rival signals.

    The last columns are the shares of redundant and essential tokens that PA attenuates, and of essential and redundant
    ones that NA protects.
    """
    heads = _heads(result.chosen)
    chosen = RuleResult(
        sra=result.chosen_sra,
        sra_length_matched=result.chosen_sra_length_matched,
        credit_accuracy=result.credit_accuracy,
    )
    rankings = {f"chosen heads {heads}": chosen} | result.trivial | result.signals
    rows = [
        (name, Number(own.sra, SRA), Number(own.sra_length_matched, SRA), *(_shares(own, a) for a in ("PA", "NA")))
        for name, own in rankings.items()
    ]
    title = "Step Ranking Accuracy and credit on problems the heads were not chosen on"
    columns = ("what ranks the steps", "SRA", "equal lengths only", "PA red./ess. %", "NA ess./red. %")
    return Table.of(title, columns, rows)


def _shares(own: RuleResult, attenuation: str) -> str:
    wanted, other = ("redundant", "essential") if attenuation == "PA" else ("essential", "redundant")
    found = [own.credit_accuracy.get(f"{attenuation} {kind}") for kind in (wanted, other)]
    return " / ".join("–" if share is None else f"{100 * share.value:.0f}" for share in found) if any(found) else "–"


def _intervention_table(result: InterventionResult) -> Table:
    """Return the accuracy of regenerated answers after each deletion."""
    accuracy = METRICS["accuracy"]
    rows = [
        (
            "none" if condition.name == "untouched" else f"{condition.name}, {condition.amount}",
            f"{condition.deleted_tokens:.1f}",
            Number(condition.accuracy, accuracy),
            Number(condition.difference, accuracy, difference=True),
            Number(condition.against_random, accuracy, difference=True),
        )
        for condition in result.conditions
    ]
    title = f"{result.samples_per_trace} answers regenerated to each of {result.num_traces} traces, accuracy in %"
    return Table.of(title, ("steps removed", "tokens", "accuracy", "against none", "against random"), rows)


def _transfer_table(result: TransferResult) -> Table:
    """Return the SRA of heads chosen on one group and reported on another."""
    rows = [
        (
            row.selected_on,
            row.reported_on,
            _heads(row.heads),
            Number(row.sra, SHARE),
            "–" if row.best_there is None else SHARE.number(row.best_there.value),
            Number(row.difference, SHARE, difference=True),
        )
        for row in result.rows
    ]
    title = f"heads chosen on one {result.grouped_by} serve on another"
    return Table.of(title, ("from", "to", "heads", "SRA there, %", "its own set", "difference"), rows)


def _stability_table(result: StabilityResult) -> Table:
    """Return SRA and correlation of scores of each checkpoint."""
    rows = [
        (p.name, *(Number(i, SRA) for i in (p.sra, p.sra_length_matched, p.pearson, p.pearson_within)))
        for p in result.points
    ]
    title = f"the same {result.num_responses} responses read with each checkpoint"
    return Table.of(title, ("checkpoint", "SRA", "equal lengths", "Pearson", "within responses"), rows)


def verification_table(result: VerificationResult) -> Table:
    """Return every figure that a head set carries beside the new one."""
    inside = {None: "–", True: "yes", False: "no"}
    rows = [(f.name, *(Number(i, SRA).markdown() for i in (f.then, f.now)), inside[f.inside]) for f in result.figures]
    title = "what the head set says of itself, and what new traces say"
    return Table.of(title, ("figure", "then", "now", "inside"), rows)


def proofs(
    intervention: InterventionResult | None = None,
    transfer: TransferResult | None = None,
    stability: StabilityResult | None = None,
) -> list[Table | str]:
    """Return the tables of what was proven, each with the lines that belong to it."""
    said: list[Table | str] = []
    if intervention is not None:
        said.append(_intervention_table(intervention))
    if transfer is not None:
        said += [_transfer_table(transfer), *(f"left out: {line}" for line in transfer.left_out)]
    if stability is not None:
        said += [_stability_table(stability), *(f"warning: {line}" for line in stability.warnings)]
    return said


def _heads(heads: Sequence[tuple[int, int]]) -> str:
    return " ".join(f"({layer},{head})" for layer, head in heads)
