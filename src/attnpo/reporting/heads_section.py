"""The parts of the page that are about heads: what discovery found, how steps were labelled, what proves it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from attnpo.discovery.result import DiscoveryResult
from attnpo.metrics import SRA
from attnpo.reporting import heat, labels
from attnpo.reporting.heads import credit_table, ensemble_panel, gate_table, head_names, rule_table
from attnpo.reporting.intervention import intervention_view
from attnpo.reporting.proof_tables import discovery_table
from attnpo.reporting.run_folder import Arm, Heads, RunFolder, same_model
from attnpo.reporting.stability import stability_view
from attnpo.reporting.transfer import transfer_matrix, transfer_table
from attnpo.reporting.verification import figure_table
from attnpo.reporting.wording import arm_title
from attnpo.statistics import Interval
from attnpo.tables import NOTHING, Number, Table

PROOFS = ("verification", "intervention", "stability", "transfer")
TABLE_HEADS = 10
"""Rows of the table of best heads."""


def head_views(run: RunFolder) -> list[dict[str, Any]]:
    """Return what the template needs for the sections on heads, folder by folder; one view where there are no heads.

    A head set's stability through an arm's training stands with these heads, else with the first.
    """
    every = run.heads or (Heads(),)
    several = len(every) > 1
    told: dict[int, list[Arm]] = {}
    for arm in run.arms:
        if (found := arm.stability) is not None:
            fits = (same_model(h.model, found.model) and h.numbers == frozenset(found.heads) for h in every)
            told.setdefault(next((i for i, fit in enumerate(fits) if fit), 0), []).append(arm)
    views = []
    for i, heads in enumerate(every):
        relation, apart = belonging(heads, run.arms)
        view = heads_context(heads.discovery) | proof_context(heads, told.get(i, ()))
        view |= {"folder": (heads.folder or "this folder") if several else "", "suffix": f"-{i + 1}" if i else ""}
        view |= {"relation": relation, "apart": apart}
        views.append(view)
    return views


def belonging(heads: Heads, arms: Sequence[Arm]) -> tuple[str, bool]:
    """Return what the heads have to do with the arms of the page, and whether that is nothing.

    Models are compared by what the files call them. The sentence is empty where no arm says what it was trained from.
    """
    runs = [arm for arm in arms if arm.trained is not None and arm.trained.model]
    start = next((arm for arm in arms if arm.starts and arm.models), None)
    if not heads.model or not (runs or start):
        return "", False
    read = f"Read in {heads.model}"
    others = runs or [arm for arm in arms if not arm.starts]
    measured = [arm for arm in others if any(same_model(heads.model, model) for model in arm.models)]
    if measured:
        return f"{read}, the model of {_titles(measured)}.", False
    if not runs and start is not None:
        if any(same_model(heads.model, model) for model in start.models):
            return f"{read}, the starting model that was measured here.", False
        return f"{read}; the starting model that was measured here is {', '.join(sorted(start.models))}.", True
    origins = {arm.name: arm.trained.model for arm in runs if arm.trained is not None}
    alike = [arm for arm in runs if same_model(heads.model, origins[arm.name])]
    if not alike:
        known = ", ".join(dict.fromkeys(origins.values()))
        return f"{read}; {_titles(runs)} started from {known}: these heads are not of that model.", True
    words = [f"{read}, the model that {_titles(alike)} started from."]
    used = {arm.name: arm.trained.heads for arm in alike if arm.trained is not None and arm.trained.heads}
    if heads.numbers:
        if same := [arm for arm in alike if used.get(arm.name) == heads.numbers]:
            words.append(f"{_titles(same)} {'was' if len(same) == 1 else 'were'} trained with these heads.")
        for arm in alike:
            if used.get(arm.name, heads.numbers) != heads.numbers:
                words.append(f"{arm_title(arm.name)} was trained with others: {head_names(sorted(used[arm.name]))}.")
    return " ".join(words), False


def _titles(arms: Sequence[Arm]) -> str:
    return ", ".join(arm_title(arm.name) for arm in arms)


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
            "chosen": head_names(result.chosen),
            "blank": blank,
        },
        "rules": rule_table(result),
        "credit": credit_table(result.credit_accuracy) if result.credit_accuracy else None,
        "ensemble": ensemble_panel(result),
        "ranked_heads": ranked_heads(result),
        "signals": discovery_table(result) if result.signals else None,
        "gates": gate_table(result),
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


def proof_context(heads: Heads, arms: Sequence[Arm] = ()) -> dict[str, Any]:
    """Return what the template needs for the section on verification, intervention, stability and transfer.

    Args:
        heads: the heads and their proofs.
        arms: those through whose training the same heads were followed.
    """
    stability = [stability_view("", heads.stability)] if heads.stability is not None else []
    stability += [stability_view(arm_title(arm.name), arm.stability) for arm in arms if arm.stability is not None]
    return {
        "intervention": heads.intervention,
        "intervention_view": None if heads.intervention is None else intervention_view(heads.intervention),
        "stability": stability,
        "transfer": heads.transfer,
        "verification": heads.verification,
        "figures": None if heads.verification is None else figure_table(heads.verification),
        "transfer_matrix": None if heads.transfer is None else transfer_matrix(heads.transfer),
        "transfer_table": None if heads.transfer is None else transfer_table(heads.transfer),
    }


def has_proof(view: Mapping[str, Any]) -> bool:
    """Whether any proof was made."""
    return any(view[name] for name in PROOFS)
