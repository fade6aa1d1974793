"""The tables of `credit_audit.py`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, get_args

from attnpo.tinyworld.oracle import SlipKind

Found = Mapping[str, Mapping[str, Any]]
TREATMENT = (
    ("essential punished", "essential", "punished"),
    ("essential rewarded", "essential", "rewarded"),
    ("redundant punished", "redundant", "punished"),
    ("redundant rewarded", "redundant", "rewarded"),
)
CHECKS = (
    ("useful punished", "useful_check", "punished"),
    ("useful rewarded", "useful_check", "rewarded"),
    ("useless punished", "useless_check", "punished"),
    ("useless rewarded", "useless_check", "rewarded"),
)

ADVANTAGE = (
    ("essential", "essential"),
    ("redundant", "redundant"),
    ("useful check", "useful_check"),
    ("useless check", "useless_check"),
    ("mends otherwise", "mends_otherwise"),
)
SLIPS = tuple((f"{kind}, {end}", f"{kind}_{end}") for kind in get_args(SlipKind) for end in ("mended", "left"))
SLIPS_SAID = (
    "Slips: the steps that first give a needed name a wrong value, by stating it, by an equation that holds (under "
    "another name, or from a wrong number) or by one that does not, and whether the last value is right."
)


def render(found: Found, left_out: Mapping[str, str], responses: Mapping[str, Any], first: str) -> str:
    """Return all tables in Markdown; `first` is the row that others are told less than."""
    counts = {name: f"{value:,.0f}" for name, value in responses.items() if name != "marked"}
    marked = responses["marked"]
    said = (
        f"{counts['problems']} problems, {counts['responses']} responses of the untrained model, "
        f"{100 * responses['accuracy']:.1f} % right, {responses['tokens']:.1f} tokens; {counts['essential_steps']} "
        f"essential and {counts['redundant_steps']} redundant steps, {marked['useful_check']:,} useful and "
        f"{marked['useless_check']:,} other checks."
    )
    lines = [said, ""]
    for title, part in (("correct responses", "correct"), ("all responses", "all")):
        lines += [f"Steps punished and rewarded, {title}, %", "", *_treatment(found, part, TREATMENT)]
    plain = {name: row for name, row in found.items() if _punishes_all(row)}
    others = {name: row for name, row in found.items() if name not in plain}
    lines += [f"In incorrect responses all steps are punished by: {', '.join(plain) or 'none'}.", ""]
    if others:
        lines += [
            "Steps punished and rewarded, incorrect responses, %",
            "",
            *_treatment(others, "incorrect", TREATMENT),
        ]
    lines += ["Checks punished and rewarded, all responses, %", "", *_treatment(found, "all", CHECKS)]
    columns = (*ADVANTAGE, *SLIPS)
    less_first = [("advantage_less_first", f" less that of {first} on the same steps")] if first else []
    for measure, less in (("advantage", ""), *less_first):
        lines += [f"Mean advantage of a step of correct responses by kind{less}", ""]
        lines += _treatment(found, "correct", [(title, kind, measure) for title, kind in columns], 1, 3)
    if first:
        steps = found[first]["steps"]["correct"]
        lines += [", ".join(f"{title}: {steps[kind]:,}" for title, kind in columns) + f" steps. {SLIPS_SAID}", ""]
    lines += ["Essential against redundant steps, and agreement with the oracle", "", *_ranking(found)]
    own = [name for name, row in found.items() if row["own_responses"]]
    if own:
        lines += [f"On responses that the method draws, asks for or cuts itself: {', '.join(own)}.", ""]
    few = {name: row["problems"] for name, row in found.items() if row["problems"] < responses["problems"]}
    if few:
        lines += [f"On the first {min(few.values())} problems: {', '.join(few)}.", ""]
    lines += [f"Left out: {name} ({reason})." for name, reason in left_out.items()]
    return "\n".join(lines).rstrip() + "\n"


def _punishes_all(row: Mapping[str, Any]) -> bool:
    shares = (row[f"incorrect/{kind}/punished"] for kind in ("essential", "redundant"))
    return all(share is not None and share["value"] == 1 for share in shares)


def _treatment(
    found: Found, part: str, columns: Sequence[tuple[str, str, str]], scale: float = 100, digits: int = 0
) -> list[str]:
    header = ["row", *(title for title, *_ in columns)]
    body = [
        [name, *(_cell(row.get(f"{part}/{kind}/{measure}"), scale, digits) for _, kind, measure in columns)]
        for name, row in found.items()
    ]
    return _table(header, body)


def _ranking(found: Found) -> list[str]:
    header = [
        "row",
        "pairs right, %",
        "pairs wrong, %",
        "contrast",
        "correlation with the oracle",
        "within responses",
    ]
    body = [
        [
            name,
            _cell(row["correct/pairs/right"], 100, 0),
            _cell(row["correct/pairs/wrong"], 100, 0),
            _cell(row["contrast"], 1, 2),
            _cell(row["correlation/oracle"], 1, 2),
            _cell(row["correlation/oracle_within_response"], 1, 2),
        ]
        for name, row in found.items()
    ]
    return _table(header, body)


def _cell(interval: Mapping[str, float] | None, scale: float, digits: int) -> str:
    if interval is None:
        return "–"
    value, low, high = (scale * interval[name] for name in ("value", "low", "high"))
    return f"{value:.{digits}f} [{low:.{digits}f}, {high:.{digits}f}]"


def _table(header: Sequence[str], body: Sequence[Sequence[str]]) -> list[str]:
    lines = ["| " + " | ".join(header) + " |", "|" + "---|" * len(header)]
    return [*lines, *("| " + " | ".join(row) + " |" for row in body), ""]
