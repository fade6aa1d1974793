"""The parts of the page that are about heads: what discovery found, how steps were labelled, what proves it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from attnpo.discovery.result import DiscoveryResult
from attnpo.metrics import SRA
from attnpo.reporting import heads, heat, labels
from attnpo.reporting.intervention import intervention_view
from attnpo.reporting.run_folder import RunFolder
from attnpo.reporting.stability import stability_view
from attnpo.reporting.transfer import transfer_matrix, transfer_table
from attnpo.reporting.verification import figure_table
from attnpo.reporting.wording import arm_title
from attnpo.statistics import Interval
from attnpo.tables import NOTHING, Number, Table

TABLE_HEADS = 10
"""Rows of the table of best heads."""


def heads_context(result: DiscoveryResult | None) -> dict[str, Any]:
    """Return what the template needs for the section on heads."""
    if result is None:
        return {"discovery": None}
    bounds = (result.sra_report_low, result.sra_report_high) if result.sra_report_low else None
    blank = heat.unreadable_layers(result.sra_report)
    return {
        "discovery": result,
        "heat": {
            "select": heat.heat_map(result.sra_select, result.chosen, "SRA on the half that heads are chosen on"),
            "report": heat.heat_map(
                result.sra_report,
                result.chosen,
                "SRA on the held-out half",
                result.relative_attention,
                bounds,
                profile=True,
            ),
            "legend": heat.heat_legend(),
            "chosen": heads.head_names(result.chosen),
            "blank": blank,
        },
        "rules": heads.rule_table(result),
        "credit": heads.credit_table(result.credit_accuracy) if result.credit_accuracy else None,
        "ensemble": heads.ensemble_panel(result),
        "ranked_heads": ranked_heads(result),
        "gates": heads.gate_table(result),
        "labeling": labels.labeling_view(result.labeling),
    }


def ranked_heads(result: DiscoveryResult) -> Table:
    """Return the heads with the highest SRA on the reported half, best first."""
    found = [
        (-sra, layer, head)
        for layer, row in enumerate(result.sra_report)
        for head, sra in enumerate(row)
        if sra is not None
    ]
    rows = []
    for minus_sra, layer, head in sorted(found)[:TABLE_HEADS]:
        low, high = (grid[layer][head] if grid else None for grid in (result.sra_report_low, result.sra_report_high))
        bounds = (-minus_sra, -minus_sra) if low is None or high is None else (low, high)
        report = Interval(value=-minus_sra, low=bounds[0], high=bounds[1])
        select = result.sra_select[layer][head]
        cells = (f"{layer}.{head}", NOTHING if select is None else SRA.number(select), Number(report, SRA))
        rows.append(cells)
    return Table.of("", ("head", "SRA, select half", "SRA, held-out half"), rows)


def proof_context(run: RunFolder) -> dict[str, Any]:
    """Return what the template needs for the section on verification, intervention, stability and transfer."""
    stability = [stability_view("", run.stability)] if run.stability is not None else []
    stability += [stability_view(arm_title(arm.name), arm.stability) for arm in run.arms if arm.stability is not None]
    return {
        "intervention": run.intervention,
        "intervention_view": None if run.intervention is None else intervention_view(run.intervention),
        "stability": stability,
        "transfer": run.transfer,
        "verification": run.verification,
        "figures": None if run.verification is None else figure_table(run.verification),
        "transfer_matrix": None if run.transfer is None else transfer_matrix(run.transfer),
        "transfer_table": None if run.transfer is None else transfer_table(run.transfer),
    }


def has_proof(context: Mapping[str, Any]) -> bool:
    """Whether any proof was made."""
    return any(context[name] for name in ("verification", "intervention", "stability", "transfer"))
