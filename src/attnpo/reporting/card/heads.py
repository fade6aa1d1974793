"""What the card says of the heads and of what supports them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError

from attnpo.attention import HeadSet
from attnpo.discovery.evidence import StabilityResult
from attnpo.reporting.wording import percent, plural, three_digits
from attnpo.statistics import Interval
from attnpo.tables import Table

CELLS = {
    "PA essential": "essential tokens that positive attenuation would touch",
    "PA redundant": "redundant tokens that positive attenuation would touch",
    "NA essential": "essential tokens that negative attenuation would protect",
    "NA redundant": "redundant tokens that negative attenuation would protect",
}


def heads_section(head_set: HeadSet | None, stability: StabilityResult | None, signal: str | None = None) -> str:
    """Return the section on heads, in Markdown; `signal` is what scored steps where the run named one."""
    if head_set is None and signal is not None:
        return f"No head set was chosen: the signal `{signal}` scores the steps."
    if head_set is None:
        return "The method reads no attention."
    names = ", ".join(str(head) for head in head_set.heads)
    parts = [
        f"Steps are scored by {plural(len(head_set.heads), 'head')} (layer.head, counted from 0): **{names}**, found "
        f"on `{head_set.model_id}` ({head_set.num_layers} layers × {head_set.num_heads} heads), chosen by: "
        f"{head_set.found_by}."
    ]
    evidence = head_set.evidence
    if "verdict" in evidence:
        parts.append(str(evidence["verdict"]))
    table = _table(head_set)
    if table:
        parts.append(table)
        parts.append(_source(evidence))
    elif "note" in evidence or "source" in evidence:
        parts.append(" ".join(str(evidence[name]) for name in ("source", "note") if name in evidence))
    else:
        parts.append(
            "**Missing:** no evidence came with these heads; `attnpo discover --verify` measures them on labelled "
            "traces."
        )
    parts.append(_stability(stability))
    return "\n\n".join(part for part in parts if part)


def _table(head_set: HeadSet) -> str:
    """Return SRA, the trivial rules beside it, and credit accuracy, each with its 95 % interval over problems."""
    evidence = head_set.evidence
    rows: list[tuple[str, Interval | None, Interval | None]] = []
    own = _interval(evidence.get("sra"))
    if own is not None:
        rows.append(("**these heads**", own, _interval(evidence.get("sra_length_matched"))))
    if (best := _interval(evidence.get("best_single_sra"))) is not None:
        rows.append(("best single head", best, None))
    for name, rule in _mapping(evidence.get("trivial")).items():
        both = _mapping(rule)
        rows.append((f"rule: {name}", _interval(both.get("sra")), _interval(both.get("sra_length_matched"))))
    if own is None or not rows:
        return ""
    written = [(name, _sra(every), _sra(matched)) for name, every, matched in rows]
    table = Table.of("", ("ranking of steps", "SRA", "SRA, steps of like length"), written).markdown()
    cells = [
        f"- {meaning}: {interval.format(1, 100)} %"
        for name, meaning in CELLS.items()
        if (interval := _interval(_mapping(evidence.get("credit_accuracy")).get(name))) is not None
    ]
    listed = "\n\nShares of tokens, by the labels:\n\n" + "\n".join(cells) if cells else ""
    return table + listed


def _source(evidence: Mapping[str, Any]) -> str:
    responses, gates = _mapping(evidence.get("responses")), _mapping(evidence.get("gates"))
    said = [
        "SRA is the share of (essential, redundant) pairs of steps of one response that are ranked right, ½ is chance; "
        "95 % intervals over problems that the heads were not chosen on."
    ]
    if "dataset" in evidence:
        said.append(f"Problems: `{evidence['dataset']}`.")
    if "labeler" in evidence:
        said.append(f"Steps labelled by: `{evidence['labeler']}`.")
    if {"selected_on", "reported_on"} <= responses.keys():
        said.append(f"Responses: {responses['selected_on']:,} to choose on, {responses['reported_on']:,} to report on.")
    if {"sampled", "kept"} <= gates.keys():
        said.append(f"Of {gates['sampled']:,} sampled responses {gates['kept']:,} passed the gates.")
    return " ".join(said)


def _stability(stability: StabilityResult | None) -> str:
    if stability is None or not stability.points:
        return "**Missing:** whether the heads kept their meaning while the model trained (`attnpo train --probe`)."
    first, last = stability.points[0], stability.points[-1]
    said = (
        f"Along training SRA on a fixed probe set of {plural(stability.num_responses, 'response')} went from "
        f"{_sra(first.sra)} ({first.name}) to {_sra(last.sra)} ({last.name}); the scores correlate with those at "
        f"the start at {three_digits(last.pearson.value)}."
    )
    changed = [each for each in stability.reselections if each.new != each.old]
    steps = ", ".join(str(each.step) for each in changed)
    return f"{said} Heads were exchanged at step {steps}." if changed else said


def _interval(value: Any) -> Interval | None:
    try:
        return Interval.model_validate(value)
    except ValidationError:  # not measured, or not an interval
        return None


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _sra(interval: Interval | None) -> str:
    return (
        "–" if interval is None else f"{percent(interval.value)} [{100 * interval.low:.1f}, {100 * interval.high:.1f}]"
    )
