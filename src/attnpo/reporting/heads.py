"""What discovery found: chosen heads against trivial rules, how many heads are enough, and which responses it used."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

from markupsafe import Markup

from attnpo.discovery.result import DiscoveryResult, EnsembleResult
from attnpo.reporting.curve_panel import Axis, Ring, curve_panel
from attnpo.reporting.intervals import Dots, plain_bar, share_bar, written
from attnpo.reporting.marks import key_mark
from attnpo.reporting.panels import Panel, Series
from attnpo.reporting.wording import bounds, percent, three_digits
from attnpo.statistics import Interval

RULE_NOTES = {
    "shorter first": "fewer tokens: essential",
    "longer first": "more tokens: essential",
    "fewer characters first": "fewer characters: essential",
    "more characters first": "more characters: essential",
    "earlier first": "nearer the start: essential",
    "later first": "nearer the end: essential",
    "all heads": "mean of every head, none chosen",
    "uniform attention": "every token looks back evenly",
    "random model": "heads chosen on a random-initialised copy",
    "random model, all heads": "mean of every head of such a copy",
}
CREDIT_CELLS = (
    ("PA redundant", "redundant tokens attenuated", True),
    ("PA essential", "essential tokens attenuated", False),
    ("NA essential", "essential tokens protected", True),
    ("NA redundant", "redundant tokens protected", False),
)
"""Cells of the credit accuracy, what they say, and whether a high share is good."""
GATE_NAMES = {
    "incorrect": "wrong answer",
    "unfinished": "cut at the token limit",
    "low_pass_rate": "problem too hard: low pass rate",
    "too_few_steps": "too few steps",
    "no_answer": "no final answer to read attention from",
    "unlabelled": "got no labels",
    "no_pair": "no essential beside a redundant step",
    "kept": "kept",
}


@dataclass(frozen=True)
class RuleRow:
    """One ranking rule.

    Attributes:
        name: what ranks the steps.
        note: how, in a few words.
        sra: its SRA over all pairs.
        matched: the same over length-matched pairs; None where there are none.
        drawing: both as dots with intervals.
        ours: whether it is the chosen set or one of its heads.
        unbeaten: the chosen set does not lie clearly above it on length-matched pairs.
    """

    name: str
    note: str
    sra: Interval
    matched: Interval | None
    drawing: Markup
    ours: bool
    unbeaten: bool


@dataclass(frozen=True)
class CreditRow:
    """One cell of credit accuracy: share of tokens touched; `wanted` says whether a high share is good."""

    name: str
    share: str
    interval: str
    drawing: Markup
    wanted: bool


@dataclass(frozen=True)
class GateRow:
    """One gate: how many responses it dropped (`kept`: how many were left)."""

    name: str
    number: int
    share: str
    drawing: Markup
    kept: bool


def rule_rows(result: DiscoveryResult) -> list[RuleRow]:
    """Return the chosen heads, the best single head and every trivial rule, one row each."""
    ours = result.chosen_sra_length_matched
    rows: list[tuple[str, str, Interval, Interval | None, bool]] = [
        (
            f"chosen heads ({len(result.chosen)})",
            head_names(result.chosen),
            result.chosen_sra,
            ours,
            True,
        ),
        ("best single head", _best_single(result), result.best_single_sra, None, True),
    ]
    rows += [
        (name, RULE_NOTES.get(name, ""), rule.sra, rule.sra_length_matched, False)
        for name, rule in result.trivial.items()
    ]
    dots = Dots.over([i for _, _, a, b, _ in rows for i in (a, b) if i is not None])
    return [
        RuleRow(
            name=name,
            note=note,
            sra=all_pairs,
            matched=matched,
            drawing=dots.draw(name, all_pairs, matched, is_ours),
            ours=is_ours,
            unbeaten=not is_ours and ours is not None and matched is not None and matched.high >= ours.low,
        )
        for name, note, all_pairs, matched, is_ours in rows
    ]


def head_names(heads: Sequence[tuple[int, int]]) -> str:
    """Return heads as `16.2, 20.9`."""
    return ", ".join(f"{layer}.{head}" for layer, head in heads)


def _best_single(result: DiscoveryResult) -> str:
    return head_names(result.top[0].heads) if result.top else ""


def credit_rows(shares: Mapping[str, Interval]) -> list[CreditRow]:
    """Return the four cells of credit accuracy, the wanted one of each pair first."""
    return [
        CreditRow(
            name=title,
            share=percent(shares[cell].value, 0),
            interval=bounds(shares[cell], as_percent=True),
            drawing=share_bar(title, shares[cell], wanted),
            wanted=wanted,
        )
        for cell, title, wanted in CREDIT_CELLS
        if shares.get(cell) is not None
    ]


def gate_rows(result: DiscoveryResult) -> list[GateRow]:
    """Return how many responses each gate dropped, in the order they stand, and how many were left."""
    counts = {name: number for name, number in result.gates.model_dump().items() if name != "sampled"}
    return [
        GateRow(
            name=GATE_NAMES.get(name, name.replace("_", " ")),
            number=number,
            share=percent(number / (result.gates.sampled or 1)),
            drawing=plain_bar(name.replace("_", " "), number / (result.gates.sampled or 1), name == "kept"),
            kept=name == "kept",
        )
        for name, number in counts.items()
        if number or name == "kept"
    ]


def chosen_ensemble(result: DiscoveryResult) -> tuple[int, EnsembleResult] | None:
    """Return the chosen set's place on its curve (number of heads) and its point; None where it is not on it."""
    curve = result.greedy if result.chosen_by == "greedy" else result.top
    place = len(result.chosen)
    return (place, curve[place - 1]) if 0 < place <= len(curve) else None


def ensemble_panel(result: DiscoveryResult) -> Panel | None:
    """Return SRA against the number of heads, greedy and top-k, on both halves; None without ensembles."""
    series = []
    for kind, index, curve in (("greedy", 1, result.greedy), ("top-k", 2, result.top)):
        if not curve:
            continue
        xs = tuple(float(n) for n in range(1, len(curve) + 1))
        added = [curve[0].heads[-1:], *([h for h in b.heads if h not in a.heads] for a, b in pairwise(curve))]
        notes = tuple(f"  added: {head_names(heads)}" for heads in added)
        for half, ys, weak in (
            ("selecting half", tuple(e.sra_select for e in curve), True),
            ("reported half", tuple(e.sra_report for e in curve), False),
        ):
            mark = key_mark(f"{kind}, {half}", index)
            series.append(Series(mark, xs, ys, notes=() if weak else notes, weak=weak))
    if not series:
        return None
    rings = []
    if (found := chosen_ensemble(result)) is not None:
        place, point = found
        text = f"chosen by {result.chosen_by} selection: {head_names(result.chosen)}\nSRA {written(result.chosen_sra)}"
        rings = [Ring(float(place), point.sra_report, text, result.chosen_sra)]
    return curve_panel(
        "SRA of the ensemble",
        sorted(series, key=lambda s: not s.weak),
        Axis("number of heads"),
        write=lambda value: f"{value:.3f}".rstrip("0").rstrip("."),
        exact=three_digits,
        ceiling=1.0,
        rings=rings,
        width=460.0,
        height=300.0,
    )
