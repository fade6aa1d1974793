"""Tables that `attnpo discover` prints of its proofs."""

from __future__ import annotations

from collections.abc import Sequence

from rich.table import Table as RichTable

from attnpo.cli.console import console
from attnpo.cli.tables import discovery_table
from attnpo.discovery.evidence import InterventionResult, StabilityResult, TransferResult, VerificationResult
from attnpo.metrics import METRICS, SRA, Metric
from attnpo.tables import Number, Table
from attnpo.workbench.discovering import Found, Verified

SHARE = Metric("SRA", scale=100, digits=1)


def intervention_table(result: InterventionResult) -> RichTable:
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
    return Table.of(title, ("steps removed", "tokens", "accuracy", "against none", "against random"), rows).terminal()


def transfer_result_table(result: TransferResult) -> RichTable:
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
    return Table.of(title, ("from", "to", "heads", "SRA there, %", "its own set", "difference"), rows).terminal()


def stability_table(result: StabilityResult) -> RichTable:
    """Return SRA and correlation of scores of each checkpoint."""
    rows = [
        (p.name, *(Number(i, SRA) for i in (p.sra, p.sra_length_matched, p.pearson, p.pearson_within)))
        for p in result.points
    ]
    title = f"the same {result.num_responses} responses read with each checkpoint"
    return Table.of(title, ("checkpoint", "SRA", "equal lengths", "Pearson", "within responses"), rows).terminal()


def verification_table(result: VerificationResult) -> RichTable:
    """Return every figure that a head set carries beside the new one."""
    inside = {None: "–", True: "yes", False: "no"}
    rows = [(f.name, *(Number(i, SRA).markdown() for i in (f.then, f.now)), inside[f.inside]) for f in result.figures]
    title = "what the head set says of itself, and what new traces say"
    return Table.of(title, ("figure", "then", "now", "inside"), rows).terminal()


def _heads(heads: Sequence[tuple[int, int]]) -> str:
    return " ".join(f"({layer},{head})" for layer, head in heads)


def _print_proofs(
    intervention: InterventionResult | None,
    transfer: TransferResult | None,
    stability: StabilityResult | None,
) -> None:
    """Print the tables of what was proven."""
    if intervention is not None:
        console.print(intervention_table(intervention))
    if transfer is not None:
        console.print(transfer_result_table(transfer))
        for line in transfer.left_out:
            console.print(f"left out: {line}")
    if stability is not None:
        console.print(stability_table(stability))
        for warning in stability.warnings:
            console.print(f"warning: {warning}")


def print_found(found: Found) -> None:
    """Print the heads that were found, beside the trivial rules, and their proofs."""
    console.print(discovery_table(found.result))
    _print_proofs(found.intervention, found.transfer, None)
    if found.judges:
        console.print(found.judges)
    console.print(found.result.gates.sentence())
    console.print(found.result.verdict)


def print_verified(verified: Verified) -> None:
    """Print what new traces say of a head set."""
    console.print(verification_table(verified.result))
    _print_proofs(verified.intervention, None, verified.stability)
    console.print(verified.gates.sentence())
    console.print(verified.result.verdict)
    if verified.known:
        console.print(
            f"warning: {verified.known} of {verified.responses} responses are among those the heads were found on, "
            "which proves nothing new; give other problems (--data, --problems_seed) or another --seed"
        )
