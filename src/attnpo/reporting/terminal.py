"""One trace in the terminal: its steps shaded by score over mean, and a table of what credit made of them."""

from __future__ import annotations

import re
from dataclasses import replace

from rich.console import Console, Group
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from attnpo.reporting.palette import DARK_SCALE, diverging, text_on
from attnpo.reporting.traces import StepView, TraceView, trace_view
from attnpo.rollouts import Rollout

MARKS = {"attenuated": "▽ attenuated", "protected": "◆ protected", "untouched": ""}
CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff]")
SHADES = diverging(DARK_SCALE, 0.75)


def render_trace_terminal(
    rollout: Rollout, console: Console, baseline: float | None = None, table: bool = True
) -> None:
    """Print one response.

    Args:
        rollout: the response; scores, factors and labels may be missing.
        console: where to print; without colours the table still says everything.
        baseline: S_base of the response; by default Eq. 6 with the published settings, from the rollout's own fields.
        table: whether to print the table of steps below the text.
    """
    view = _printable(trace_view(rollout, baseline))
    parts = [_field("problem", view.prompt), _field("reference answer", view.solution), Text(""), _body(view)]
    console.print(Panel(Group(*parts), title=_title(view), subtitle=_subtitle(view), title_align="left"))
    if any(step.shade is not None for step in view.steps):
        console.print(_legend())
    if table and view.steps:
        console.print(_table(view))


def _printable(view: TraceView) -> TraceView:
    """Return the view with control characters replaced: a response must not steer the terminal."""
    return replace(
        view,
        problem_id=_clean(view.problem_id),
        prompt=_clean(view.prompt),
        solution=_clean(view.solution),
        head=_clean(view.head),
        steps=tuple(replace(step, text=_clean(step.text)) for step in view.steps),
        tail=_clean(view.tail),
        failure=None if view.failure is None else _clean(view.failure),
    )


def _clean(text: str) -> str:
    return CONTROL.sub("\ufffd", text)


def _field(name: str, value: str) -> Text:
    return Text.assemble((f"{name}: ", "dim"), value)


def _title(view: TraceView) -> Text:
    style = {"correct": "bold green", "wrong": "bold red"}.get(view.verdict, "bold yellow")
    cut = "" if view.finished else ", cut at the token limit"
    if view.failure is not None:
        cut = f", came to nothing ({view.failure})"
    return Text.assemble(f"{view.problem_id} · {view.n_tokens} tokens · ", (view.verdict + cut, style))


def _subtitle(view: TraceView) -> Text:
    values = {"pass rate": view.pass_rate, "advantage": view.advantage, "baseline S_base": view.baseline}
    return Text(" · ".join(f"{name} {value:.4g}" for name, value in values.items() if value is not None), style="dim")


def _body(view: TraceView) -> Text:
    body = Text()
    if view.head:
        body.append(view.head + "\n", style="dim")
    for step in view.steps:
        style = "" if step.shade is None else f"{text_on(SHADES[step.shade])} on {SHADES[step.shade]}"
        body.append(f"{step.index + 1:>3} ", style="dim")
        body.append(step.text.strip(), style=style)
        if step.mark != "untouched":
            body.append(f"  {MARKS[step.mark]} γ={step.gamma:.2f}", style="italic")
        body.append("\n")
    if view.tail:
        body.append("\nfinal answer: " if view.closed else "\n", style="dim")
        body.append(view.tail, style="bold")
    elif view.steps:
        body.append("\nno final answer: the think part was never closed", style="dim italic")
    return body


def _legend() -> Text:
    legend = Text("score over the mean of the response  ¼× ", style="dim")
    for shade in range(-10, 11, 2):
        legend.append("  ", style=f"on {SHADES[shade]}")
    return legend.append(" 4×", style="dim")


def _table(view: TraceView) -> Table:
    table = Table(box=None, header_style="bold", pad_edge=False)
    for name in ("step", "tokens"):
        table.add_column(name, justify="right")
    table.add_column("family")
    for name in ("score", "S/S_base", "γ"):
        table.add_column(name, justify="right")
    table.add_column("label")
    table.add_column("credit")
    for step in view.steps:
        table.add_row(*_cells(step))
    return table


def _cells(step: StepView) -> tuple[str, ...]:
    return (
        str(step.index + 1),
        str(step.tokens),
        step.family,
        "–" if step.score is None else f"{step.score:.4f}",
        "–" if step.ratio is None else f"{step.ratio:.2f}",
        "–" if step.gamma is None else f"{step.gamma:.2f}",
        step.label or "–",
        MARKS[step.mark] or ("–" if step.gamma is None else "untouched"),
    )
