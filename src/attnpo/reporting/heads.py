"""What discovery found: chosen heads against trivial rules, how many heads are enough, and which responses it used."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise

from attnpo.discovery.result import DiscoveryResult, EnsembleResult
from attnpo.metrics import SRA, Metric
from attnpo.reporting.curve_panel import Axis, Ring, curve_panel
from attnpo.reporting.intervals import SHARE_COLUMNS, Dots, counted, plain_bar, share_bar, written
from attnpo.reporting.marks import key_mark
from attnpo.reporting.panels import Panel, Series
from attnpo.reporting.wording import three_digits
from attnpo.statistics import Interval
from attnpo.tables import Column, Number, Row, Table

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
CREDIT_SHARE = Metric("share of tokens touched", scale=100.0, digits=0, bound_digits=1)
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


def rule_table(result: DiscoveryResult) -> Table:
    """Return the chosen heads, the best single head and every trivial rule, one row each.

    `unbeaten` are those that the chosen set does not lie clearly above on length-matched pairs.
    """
    ours = result.chosen_sra_length_matched
    rules: list[tuple[str, str, Interval, Interval | None, bool]] = [
        (f"chosen heads ({len(result.chosen)})", head_names(result.chosen), result.chosen_sra, ours, True),
        ("best single head", _best_single(result), result.best_single_sra, None, True),
    ]
    rules += [
        (name, RULE_NOTES.get(name, ""), rule.sra, rule.sra_length_matched, False)
        for name, rule in result.trivial.items()
    ]
    dots = Dots.over([i for _, _, a, b, _ in rules for i in (a, b) if i is not None])
    rows = []
    for name, note, all_pairs, matched, is_ours in rules:
        css = "ours" if is_ours else ""
        if not is_ours and ours is not None and matched is not None and matched.high >= ours.low:
            css, note = "unbeaten", f"{note}\nnot clearly beaten".strip()
        drawing = dots.draw(name, all_pairs, matched, is_ours)
        rows.append(Row(name, (Number(all_pairs, SRA), Number(matched, SRA), drawing), note, css=css))
    heads = (Column("ranks steps by"), Column("SRA"), Column("length-matched"), Column("drawing", drawing=True))
    return Table(heads, tuple(rows))


def head_names(heads: Sequence[tuple[int, int]]) -> str:
    """Return heads as `16.2, 20.9`."""
    return ", ".join(f"{layer}.{head}" for layer, head in heads)


def _best_single(result: DiscoveryResult) -> str:
    return head_names(result.top[0].heads) if result.top else ""


def credit_table(shares: Mapping[str, Interval]) -> Table:
    """Return the four cells of credit accuracy as shares of tokens touched, the wanted one of each pair first."""
    rows = []
    for place, (cell, title, wanted) in enumerate(c for c in CREDIT_CELLS if shares.get(c[0]) is not None):
        cells = (share_bar(title, shares[cell], wanted), Number(shares[cell], CREDIT_SHARE))
        note = "should be high" if wanted else "should be low"
        rows.append(Row(title, cells, note, apart=place > 0 and place % 2 == 0))
    return Table(SHARE_COLUMNS, tuple(rows))


def gate_table(result: DiscoveryResult) -> Table:
    """Return how many responses each gate dropped, in the order they stand, and how many were left."""
    counts = {name: number for name, number in result.gates.model_dump().items() if name != "sampled"}
    rows = []
    for name, number in counts.items():
        if number or name == "kept":
            kept, share = name == "kept", number / (result.gates.sampled or 1)
            title, words = GATE_NAMES.get(name, name.replace("_", " ")), name.replace("_", " ")
            cells = (plain_bar(words, share, kept), counted(number, share))
            rows.append(Row(title, cells, apart=kept))
    return Table(SHARE_COLUMNS, tuple(rows))


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
