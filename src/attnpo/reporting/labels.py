"""What a labeler says of its own work (`DiscoveryResult.labeling`): agreement, cost, thresholds, distributions.

Labelers differ in what they report, so every JSON value is shown by its form: numbers as facts, counts of labels and
other counts as bars, `{edges, counts}` as a histogram, quantiles as a strip, tables of numbers as tables.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup

from attnpo.labeling import LABELS
from attnpo.ranges import NUMBER
from attnpo.reporting.bar_panel import histogram
from attnpo.reporting.intervals import SHARE_COLUMNS, counted, plain_bar
from attnpo.reporting.quantiles import quantile_strip
from attnpo.reporting.wording import duration, percent
from attnpo.tables import Row, Table

TITLES = {
    "kappa": "Cohen’s κ",
    "fleiss_kappa": "Fleiss’ κ",
    "pairwise_agreement": "agreement of two judges",
    "auc": "ROC AUC",
    "roc_auc": "ROC AUC",
}
INTERVAL_FIELDS = {"value", "low", "high"}
STRIP_NOTE = "half, 90 % and 98 %; line: median"
MOST_SIDE_BY_SIDE = 5
"""At most this many rows are turned into columns, where they have more fields than this."""
MOST_FACTS_IN_BARS = 24
"""A table of counts longer than this is listed, not drawn."""


@dataclass(frozen=True)
class LabelingView:
    """A labeler's report as it is shown."""

    facts: tuple[tuple[str, str], ...]
    counts: tuple[Table, ...]
    distributions: tuple[tuple[str, str, Markup], ...]
    tables: tuple[Table, ...]


def labeling_view(report: Mapping[str, Any]) -> LabelingView:
    """Return a labeler's report as it is shown; values that are None are left out."""
    facts: list[tuple[str, str]] = []
    counts: list[Table] = []
    distributions: list[tuple[str, str, Markup]] = []
    tables: list[Table] = []

    def take(path: tuple[str, ...], value: Any, beside: Mapping[str, Any]) -> None:
        title = " · ".join(fact_title(part) for part in path)
        key = path[-1]
        if value is None or value == {} or value == []:
            return
        if isinstance(value, Mapping):
            if value.keys() >= INTERVAL_FIELDS:
                facts.append((title, _interval(value)))
            elif (found := _histogram(value)) is not None:
                cut = _threshold(beside)
                edges, numbers = found
                name = "" if cut is None else f"threshold {cut:.3g}"
                drawing = histogram(title, edges, numbers, x_title=str(value.get("unit", "")), cut=cut, cut_name=name)
                distributions.append((title, "", drawing))
            elif (quantiles := _quantiles(key, value)) is not None:
                distributions.append((title, STRIP_NOTE, quantile_strip(title, quantiles, _cuts(beside))))
            elif _is_counts(key, value):
                counts.append(Table(SHARE_COLUMNS, _count_rows(value), title))
            elif all(isinstance(inner, Mapping) for inner in value.values()) and _same_scalars(value):
                tables.append(_table_of(title, value))
            elif all(_is_scalar(inner) for inner in value.values()) and len(value) > 6:
                rows = ((fact_title(k), write_fact(k, v)) for k, v in value.items() if v is not None)
                tables.append(Table.of(title, ("", ""), rows))
            else:
                for name, inner in value.items():
                    take((*path, str(name)), inner, value)
        elif isinstance(value, Sequence) and not isinstance(value, str):
            if value and all(isinstance(inner, Mapping) for inner in value):
                tables.append(_table_of(title, {str(i + 1): inner for i, inner in enumerate(value)}))
            else:
                facts.append((title, ", ".join(write_fact("", inner) for inner in value)))
        else:
            facts.append((title, write_fact(key, value)))

    for name, value in report.items():
        take((str(name),), value, report)
    return LabelingView(tuple(facts), tuple(counts), tuple(distributions), tuple(tables))


def fact_title(key: str) -> str:
    """Return a field's name as people write it."""
    return TITLES.get(key, key.replace("_", " "))


def write_fact(key: str, value: Any) -> str:
    """Return a value as text: whole numbers with separators, seconds as a time, others with three digits."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, float):
        if not math.isfinite(value):
            return "–"
        if key.endswith("seconds"):
            return duration(value)
        if key.endswith("share"):
            return percent(value)
        return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}" if abs(value) < 0.001 else f"{value:.3f}"
    if isinstance(value, str):
        return value
    return json.dumps(value, ensure_ascii=False)


def _interval(value: Mapping[str, Any]) -> str:
    return f"{write_fact('', value['value'])} ({write_fact('', value['low'])}–{write_fact('', value['high'])})"


def _histogram(value: Mapping[str, Any]) -> tuple[list[float], list[float]] | None:
    edges = value.get("edges", value.get("bin_edges"))
    counts = value.get("counts", value.get("values"))
    if not (isinstance(edges, list) and isinstance(counts, list)) or len(edges) != len(counts) + 1 or not counts:
        return None
    if not all(NUMBER.holds(v) for v in (*edges, *counts)):
        return None
    return [float(v) for v in edges], [float(v) for v in counts]


def _threshold(beside: Mapping[str, Any]) -> float | None:
    """Return the threshold that a report states beside a histogram, as a number or with what else is known of it."""
    threshold = beside.get("threshold")
    if isinstance(threshold, Mapping):
        threshold = threshold.get("threshold", threshold.get("value"))
    return float(threshold) if isinstance(threshold, int | float) and NUMBER.holds(threshold) else None


def _cuts(beside: Mapping[str, Any]) -> list[tuple[float, str]]:
    threshold = _threshold(beside)
    return [] if threshold is None else [(threshold, f"threshold {threshold:.3g}")]


def _quantiles(key: str, value: Mapping[str, Any]) -> dict[float, float] | None:
    """Return share → value where a mapping is one of quantiles, by its name and its keys."""
    if "quantile" not in key or not value or not all(NUMBER.holds(v) for v in value.values()):
        return None
    try:
        found = {float(share): float(v) for share, v in value.items()}
    except ValueError:
        return None
    return found if all(0 <= share <= 1 for share in found) else None


def _is_counts(key: str, value: Mapping[str, Any]) -> bool:
    """Whether a mapping counts things: labels, or anything whose name says so."""
    if not value or not all(NUMBER.holds(v) and v >= 0 for v in value.values()) or len(value) > MOST_FACTS_IN_BARS:
        return False
    named = any(word in key for word in ("count", "distribution", "labels", "reasons", "votes"))
    return (set(map(str, value)) <= set(LABELS) or named) and sum(value.values()) > 0


def _count_rows(value: Mapping[str, Any]) -> tuple[Row, ...]:
    total = sum(value.values())
    # Fractions are shares already; anything else is a count.
    given = any(isinstance(v, float) and v != int(v) for v in value.values()) and total <= 1 + 1e-9
    shares = {str(name): number if given else number / total for name, number in value.items()}
    return tuple(
        Row(
            fact_title(name),
            (plain_bar(name, share, kept=True), _strong(percent(share)) if given else counted(value[name], share)),
        )
        for name, share in shares.items()
    )


def _strong(text: str) -> Markup:
    return Markup("<b>{}</b>").format(text)


def _is_scalar(value: object) -> bool:
    return value is None or isinstance(value, str | int | float | bool)


def _same_scalars(value: Mapping[str, Mapping[str, Any]]) -> bool:
    return len(value) > 1 and all(
        _is_scalar(v) or (isinstance(v, Mapping) and v.keys() >= INTERVAL_FIELDS)
        for inner in value.values()
        for v in inner.values()
    )


def _table_of(title: str, rows: Mapping[str, Mapping[str, Any]]) -> Table:
    """Return rows of the same fields as a table; a few rows of many fields stand side by side."""
    rows = {name: _flat(inner) for name, inner in rows.items()}
    columns = list(dict.fromkeys(str(name) for inner in rows.values() for name in inner))
    if all(name.isdigit() for name in rows):  # a list: its first text that tells the rows apart names them
        for column in columns:
            named = {_written(column, inner.get(column)): inner for inner in rows.values()}
            if len(named) == len(rows) and not any(NUMBER.holds(inner.get(column)) for inner in rows.values()):
                rows, columns = named, [name for name in columns if name != column]
                break
    if len(rows) <= MOST_SIDE_BY_SIDE < len(columns):
        lines = ((fact_title(c), *(_written(c, inner.get(c)) for inner in rows.values())) for c in columns)
        return Table.of(title, ("", *map(str, rows)), lines)
    lines = ((str(name), *(_written(c, inner.get(c)) for c in columns)) for name, inner in rows.items())
    return Table.of(title, ("", *map(fact_title, columns)), lines)


def _flat(row: Mapping[str, Any]) -> dict[str, Any]:
    """Return a row with the values of its mappings as fields of their own; intervals stay whole."""
    flat: dict[str, Any] = {}
    for name, value in row.items():
        if isinstance(value, Mapping) and not value.keys() >= INTERVAL_FIELDS:
            flat |= {f"{name}: {inner}": number for inner, number in value.items()}
        else:
            flat[str(name)] = value
    return flat


def _written(key: str, value: Any) -> str:
    if value is None:
        return "–"
    if isinstance(value, Mapping) and value.keys() >= INTERVAL_FIELDS:
        return _interval(value)
    if isinstance(value, list):
        return ", ".join(_written("", inner) for inner in value) or "–"
    return write_fact(key, value)
