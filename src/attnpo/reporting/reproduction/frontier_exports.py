"""The comparison of methods over their strength as Markdown and JSON."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from attnpo.metrics import METRICS, Metric
from attnpo.reporting.reproduction.costs import mean_mass
from attnpo.reporting.reproduction.frontier_table import Curve, FrontierTable, Gaps
from attnpo.reporting.reproduction.ranking import FORETOLD
from attnpo.significance import DEFINED, Estimate
from attnpo.statistics import Interval
from attnpo.tables import NOTHING, Number, Table, Value

RANK_NOTE = (
    "Spearman's correlation over the curves that both have. In brackets: how far it depends on problems and training "
    "runs, for these curves; the gradients' own errors are not in it. p: how often any order of so many curves agrees, "
    "or disagrees, as much; for one correlation, and several stand here. Ablations and controls of one method are not "
    "independent of each other."
)
FORETOLD_NOTE = (
    "Gradients of the model that training starts from, each curve read where all save as many tokens by a unit step; "
    "their own errors stand in the gradients' table. Beside them what the trained curves have."
)
RUNS_NOTE = (
    "Each run against the other curve of its own seed, at the length where it ends; of a seed the mean over strengths, "
    "then the mean over seeds. A seed fixes the training problems, and runs of a seed go the same way: that leaves the "
    "error. Runs beyond the ends of the other curve are left out, and where fewer than half remain nothing is tested. "
    "Neighbouring strengths of a seed whose lengths stand the wrong way round are pooled. Intervals: of the mean over "
    "seeds, and over problems; Student's t with one degree of freedom less than seeds. A dash: fewer than two seeds."
)
ITSELF_NOTE = (
    "Less itself: each strength against the others, which tells what straight lines between strengths are off by on "
    "average, with lines about twice as long: of an even bend four times as much. A tested difference is not beyond "
    "the bend of the curve where its interval has 0 once a quarter of the far end of that one's is taken off."
)
BESIDE_NOTE = (
    "As above, with what else was measured in the place of accuracy: what curves that are as accurate at equal length "
    "differ in. Not tested."
)
UNPLANNED = "Not what was planned, and not tested."
TEST = ["p", "p of a loss or gain beyond the margin", "result"]
RANK = Metric("rank correlation", digits=2, better="high")
GRADIENT = Metric("a gradient beside TLMRE's", digits=3)
TIME = Metric("thousand tokens until the target", scale=0.001, digits=1, better="low")


def plan_text(table: FrontierTable, family: Sequence[str]) -> str:
    """Return what was said before the run, in sentences."""
    plan, first = table.plan, table.plan.against[0]
    said = [
        "Primary: accuracy "
        + (
            f"of each run against {first}'s curve of its own seed, at the length where it ends"
            if plan.by_run
            else f"at {plan.primary:g} tokens a response against {first}"
        )
        + f", two-sided, Holm over {', '.join(name for name in family if name != first)}.",
        f"No loss: two one-sided tests with a margin of {100 * plan.margin:g} points, Holm over "
        f"{', '.join(name for name in plan.equal if name != first) or 'the same'}.",
        *(f"Secondary: the same against {name}, with Holm of its own." for name in plan.against[1:]),
        "Controls, bounds and curves that are not in the family are told with their intervals and not tested.",
        f"In brackets: {100 * table.level:g} % intervals, problems and training runs drawn with replacement, Student's "
        "t with the runs' degrees of freedom. A dash: a curve does not reach the place, fewer than "
        f"{100 * DEFINED:g} % of its resamples do, or it has one run. At most (≤): its shortest point still has that "
        "accuracy, so it could be shorter yet (of the data; the point has an error, too).",
    ]
    if plan.target is not None:
        said.append(
            f"Cost: tokens sampled until {plan.target.tokens:g} tokens a response at {100 * plan.target.accuracy:g} % "
            f"right on held-out problems, at the strength that ends at {plan.primary:g} tokens; of a row without "
            "strengths, its own."
        )
    return " ".join(said)


@dataclass(frozen=True)
class Section:
    """A table under its own heading, with words below."""

    title: str
    table: Table
    note: str = ""


def frontier_sections(table: FrontierTable) -> list[Section]:
    """Return the tables; those that nothing is known for are left out."""
    plan, tokens = table.plan, METRICS["response_tokens"]
    lengths = [
        f"{place:g} tokens{' (primary)' if place == plan.primary and not plan.by_run else ''}"
        for place in plan.at_tokens
    ]
    shares = [f"{100 * place:g} %" for place in plan.at_accuracy]
    found = [Section("Accuracy at equal length, %", _own(table, table.accuracy, METRICS["accuracy"], lengths))]
    for reference, gaps in table.accuracy_gaps.items():
        title = f"Accuracy at equal length less that of {reference}, points"
        title += "" if reference == plan.against[0] else " (secondary)"
        found.append(Section(title, _tested(table, reference, gaps, lengths)))
    if table.run_gaps:
        notes = (RUNS_NOTE, ITSELF_NOTE if table.leave_one_out else "", "" if plan.by_run else UNPLANNED)
        title = f"Each run against the curve of its own seed, points{' (primary)' if plan.by_run else ''}"
        found.append(Section(title, _runs(table), " ".join(filter(None, notes))))
    if table.beside_runs:
        found.append(Section("What else each run has, less the curve of its own seed", _beside(table), BESIDE_NOTE))
    if shares:
        found.append(Section("Tokens at equal accuracy", _lengths(table, tokens, shares)))
        for reference, gaps in table.tokens_gaps.items():
            lines = [[name, *_numbers(table, held.values(), tokens, True)] for name, held in gaps.items()]
            title = f"Tokens at equal accuracy less those of {reference}"
            found.append(Section(title, Table.of("", ["curve", *shares], lines)))
    if table.times:
        heads = [TIME.title, *(f"less {reference}" for reference in table.time_gaps)]
        lines = [
            [
                name,
                _number(table, time, TIME),
                *(_number(table, g.get(name), TIME, True) for g in table.time_gaps.values()),
            ]
            for name, time in table.times.items()
        ]
        found.append(Section("Tokens sampled until the target, thousands", Table.of("", ["curve", *heads], lines)))
    if table.controls:
        found.append(Section("Controls at equal strength", _controls(table)))
    for metric, measures in table.foretold.items():
        if measures:
            title = f"One gradient beside the runs, {metric} metric"
            found.append(Section(title, _foretold(table, measures), FORETOLD_NOTE))
    if table.ranking:
        found.append(Section("One gradient and the trained curves", _ranking(table), RANK_NOTE))
    return found


def frontier_markdown(table: FrontierTable, family: Sequence[str]) -> str:
    """Return what was planned and the tables in Markdown.

    Args:
        table: the numbers.
        family: the curves that are tested together.
    """
    parts = [plan_text(table, family)]
    for section in frontier_sections(table):
        parts += [f"### {section.title}", section.table.markdown(), *([section.note] if section.note else [])]
    if table.caveats:
        parts += ["Caveats:", "\n".join(f"- {text}" for text in table.caveats)]
    return "\n\n".join(parts) + "\n"


def frontier_json(table: FrontierTable, family: Sequence[str], about: Mapping[str, Any]) -> str:
    """Return all numbers as JSON: estimates with standard error and degrees of freedom.

    Args:
        table: the numbers.
        family: the curves that are tested together.
        about: how it was made.
    """
    content = {
        "schema_version": 2,
        **about,
        "plan": table.plan.model_dump(),
        "family": list(family),
        "level": table.level,
        "caveats": list(table.caveats),
        "curves": {curve.name: _curve_json(table, curve) for curve in table.curves},
        "against": {
            reference: {
                name: {
                    "accuracy_at_tokens": _places(table.accuracy_gaps[reference][name]),
                    "tokens_at_accuracy": _places(table.tokens_gaps[reference][name]),
                    "tokens_until_target": _json(table.time_gaps.get(reference, {}).get(name)),
                    "p": test.p,
                    "p_equal": test.p_equal,
                    "in_family": test.in_family,
                    "within_bend": test.within_bend,
                    "verdict": test.verdict,
                }
                for name, test in tests.items()
            }
            for reference, tests in table.tests.items()
        },
        "run_gaps": {f"{name} less {other}": asdict(found) for (name, other), found in table.run_gaps.items()},
        "beside_runs": {
            metric: {f"{name} less {other}": asdict(found) for (name, other), found in gaps.items()}
            for metric, gaps in table.beside_runs.items()
        },
        "leave_one_out": {name: asdict(found) for name, found in table.leave_one_out.items()},
        "foretold": {
            metric: {name: dict(zip(FORETOLD, own, strict=True)) for name, own in measures.items()}
            for metric, measures in table.foretold.items()
        },
        "ranking": [
            {
                "measure": found.measure,
                "metric": found.metric,
                **{
                    name: {"curves": list(held.curves), "correlation": _json(held.correlation), "p": held.p}
                    for name, held in (("accuracy", found.accuracy), ("time", found.time))
                },
            }
            for found in table.ranking
        ],
        "controls": [
            {
                "control": gap.control,
                "method": gap.method,
                "strength": gap.strength,
                "differences": {name: _json(found) for name, found in gap.differences.items()},
            }
            for gap in table.controls
        ],
    }
    return json.dumps(content, indent=2, ensure_ascii=False) + "\n"


def written_p(p: float | None) -> str:
    """Return a p-value as it is written."""
    return NOTHING if p is None else "< 0.001" if p < 0.001 else f"{p:.3f}"


def _own(table: FrontierTable, values: Gaps, metric: Metric, heads: Sequence[str]) -> Table:
    by_name = {curve.name: curve for curve in table.curves}
    lines = [
        [name, by_name[name].group, str(len(by_name[name].seeds)), *_numbers(table, found.values(), metric)]
        for name, found in values.items()
    ]
    return Table.of("", ["curve", "group", "runs", *heads], lines)


def _lengths(table: FrontierTable, metric: Metric, heads: Sequence[str]) -> Table:
    """The same of lengths, which are known from above where the shortest point is accurate enough."""
    lines = []
    for curve in table.curves:
        cells: list[Value] = []
        for place, found in table.tokens[curve.name].items():
            most = curve.draws.most_tokens_at(place) if found is None else None
            cells.append(_number(table, found, metric) if most is None else f"≤ {metric.number(most)}")
        lines.append([curve.name, curve.group, str(len(curve.seeds)), *cells])
    return Table.of("", ["curve", "group", "runs", *heads], lines)


def _tested(table: FrontierTable, reference: str, gaps: Gaps, heads: Sequence[str]) -> Table:
    lines = []
    for name, found in gaps.items():
        held = _numbers(table, found.values(), METRICS["accuracy"], True)
        lines.append([_placed(table, reference, name), *held, *_test(table, reference, name, not table.plan.by_run)])
    return Table.of("", ["curve", *heads, *([] if table.plan.by_run else TEST)], lines)


def _runs(table: FrontierTable) -> Table:
    lines = []
    for (name, other), gap in {
        **table.run_gaps,
        **{(name, "itself"): gap for name, gap in table.leave_one_out.items()},
    }.items():
        held = _number(table, gap.difference, METRICS["accuracy"], True)
        seen = [str(gap.seeds), f"{gap.within} of {gap.runs}"]
        secondary = " (secondary)" if table.plan.by_run and other in table.plan.against[1:] else ""
        lines.append([f"{name} less {other}{secondary}", held, *seen, *_test(table, other, name, table.plan.by_run)])
    heads = ["difference", "points", "seeds", "runs within its ends"]
    return Table.of("", [*heads, *(TEST if table.plan.by_run else [])], lines)


def _beside(table: FrontierTable) -> Table:
    pairs = dict.fromkeys(pair for gaps in table.beside_runs.values() for pair in gaps)
    lines = []
    for name, other in pairs:
        found = [(gaps.get((name, other)), METRICS[metric]) for metric, gaps in table.beside_runs.items()]
        cells = [_number(table, None if gap is None else gap.difference, metric, True) for gap, metric in found]
        lines.append([f"{name} less {other}", *cells])
    heads = [_title(metric) for metric in table.beside_runs]
    return Table.of("", ["difference", *heads], lines)


def _title(metric: str) -> str:
    """Return how a difference is headed: of shares in points."""
    known = METRICS[metric]
    return f"{known.title}, points" if known.scale == 100 else known.title


def _test(table: FrontierTable, reference: str, name: str, shown: bool) -> list[Value]:
    """Return the cells of `TEST`; dashes where the two are told side by side alone."""
    test = table.tests.get(reference, {}).get(name) if shown else None
    if test is None:
        return [NOTHING, NOTHING, "not tested"] if shown else []
    return [written_p(test.p), written_p(test.p_equal), test.verdict]


def _placed(table: FrontierTable, reference: str, name: str) -> str:
    return name if table.tests[reference][name].in_family else f"{name} (not in the family)"


def _controls(table: FrontierTable) -> Table:
    metrics = list(dict.fromkeys(m for gap in table.controls for m in gap.differences))
    lines = [
        [
            f"{gap.control} less {gap.method}",
            gap.strength,
            *(_number(table, gap.differences.get(m), METRICS[m], True) for m in metrics),
        ]
        for gap in table.controls
    ]
    heads = ["points" if m == "accuracy" else METRICS[m].title for m in metrics]
    return Table.of("", ["control", "strength", *heads], lines)


def _foretold(table: FrontierTable, measures: Mapping[str, Sequence[float]]) -> Table:
    first, accuracy = table.plan.against[0], METRICS["accuracy"]
    lines = []
    for name, own in measures.items():
        at_length = table.accuracy_gaps.get(first, {}).get(name, {}).get(table.plan.primary)
        runs = table.run_gaps.get((name, first))
        held = [at_length, None if runs is None else runs.difference]
        lines.append([name, *(GRADIENT.number(value) for value in own), *_numbers(table, held, accuracy, True)])
    heads = [f"at {table.plan.primary:g} tokens less {first}, points", f"each run less {first} of its seed, points"]
    return Table.of("", ["curve", *FORETOLD.values(), *heads], lines)


def _ranking(table: FrontierTable) -> Table:
    first = table.plan.against[0]
    heads = [f"accuracy at {table.plan.primary:g} tokens less {first}", f"tokens until the target below {first}"]
    lines = []
    for found in table.ranking:
        cells: list[Value] = []
        for held in (found.accuracy, found.time):
            cells += [_within(held.correlation, table.level), written_p(held.p), str(len(held.curves))]
        lines.append([FORETOLD[found.measure], found.metric, *cells])
    return Table.of("", ["gradient", "metric", *(title for head in heads for title in (head, "p", "curves"))], lines)


def _within(correlation: Estimate | None, level: float) -> Value:
    """Return a correlation with its interval, which ends at -1 and 1."""
    if correlation is None:
        return Number(None, RANK)
    found = correlation.interval(level)
    return Number(Interval(value=found.value, low=max(found.low, -1.0), high=min(found.high, 1.0)), RANK)


def _numbers(
    table: FrontierTable, found: Iterable[Estimate | None], metric: Metric, difference: bool = False
) -> list[Value]:
    return [_number(table, each, metric, difference) for each in found]


def _number(table: FrontierTable, found: Estimate | None, metric: Metric, difference: bool = False) -> Number:
    interval: Interval | None = None if found is None else found.interval(table.level)
    return Number(interval, metric, difference)


def _curve_json(table: FrontierTable, curve: Curve) -> dict[str, Any]:
    return {
        "group": curve.group,
        "control_of": curve.control_of,
        "seeds": list(curve.seeds),
        "rows": {
            row.name: {
                "strength": strength,
                "response_tokens": curve.draws.tokens_DK[0, k],
                "accuracy": curve.draws.accuracy_DK[0, k],
                "mass": mean_mass(row.costs.values()),
            }
            for k, (row, strength) in enumerate(zip(curve.rows, curve.draws.strengths, strict=True))
        },
        "accuracy_at_tokens": _places(table.accuracy[curve.name]),
        "tokens_at_accuracy": _places(table.tokens[curve.name]),
        "most_tokens_at_accuracy": {f"{p:g}": curve.draws.most_tokens_at(p) for p in table.plan.at_accuracy},
        "tokens_until_target": _json(table.times.get(curve.name)),
    }


def _places(found: Mapping[float, Estimate | None]) -> dict[str, Any]:
    return {f"{place:g}": _json(each) for place, each in found.items()}


def _json(found: Estimate | None) -> dict[str, Any] | None:
    return None if found is None else asdict(found)
