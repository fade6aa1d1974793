"""A dry run's findings in the terminal."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console
from rich.table import Table
from rich.text import Text

from attnpo.training.estimate import DeviceMemory, RunPlan
from attnpo.workbench.dry_run import DryRun
from attnpo.workbench.written import gib

PHASES = {"sampling": "sampling", "pass": "forward and backward", "update": "optimizer's step"}
OUTSIDE = "Not counted: the CUDA context and NCCL (about 1 GiB), and memory that the allocator cannot reuse."

HERE = "the same command without --dry_run starts the run."
ELSEWHERE = "what only the machine planned for can tell is checked when the run starts there."


def show(findings: DryRun, console: Console, device_gib: float | None = None) -> None:
    """Print what was read, counted and estimated; problems are the caller's to print."""
    for name, said in findings.facts.items():
        console.print(Text.assemble((f"{name:<10}", "bold"), said))
    if findings.plan is not None:
        console.print(plan_table(findings.plan))
    if findings.memory:
        console.print(memory_table(findings.memory[0]))
        console.print(OUTSIDE)
        if len(findings.memory) > 1:
            console.print(layouts_table(findings.memory, device_gib))
        elif device_gib is not None:
            console.print(_fits(findings.memory[0], device_gib))
    if findings.written:
        console.print(_pairs("What would be written", findings.written.items()))
    for note in findings.notes:
        console.print(f"note: {note}", markup=False)
    if not findings.errors:
        console.print(f"No contradiction found; {HERE if findings.here else ELSEWHERE}")


def plan_table(plan: RunPlan) -> Table:
    """What is sampled and updated."""
    rows = {
        "updates (optimizer steps)": f"{plan.updates:,}",
        "rounds of sampling": f"{plan.batches:,}, {plan.updates_per_batch:g} updates each",
        "a round": f"{plan.prompts_per_batch:,} prompts x {plan.group_size} responses = {plan.responses_per_batch:,}, "
        f"in {plan.prompts_per_batch:,} groups",
        "a process": f"{plan.responses_per_process:,} responses a round, {plan.micro_batches} micro-batches of "
        f"{plan.micro_batch} an update; {plan.processes} processes",
        "passes over the data": f"{plan.epochs:.2f} of {plan.problems:,} problems",
        "response tokens": f"at most {plan.tokens_per_batch_at_most:,} a round, {plan.tokens_at_most:,} in the run",
    }
    return _pairs("What would be done", rows.items())


def memory_table(memory: DeviceMemory) -> Table:
    """One device's memory, term by term, with the peak of each phase."""
    table = Table(title=f"Memory of a device, estimated ({memory.layout.title})", title_justify="left")
    for name in ("what", "when"):
        table.add_column(name)
    table.add_column("bytes", justify="right")
    for term in memory.terms:
        table.add_row(term.name, PHASES.get(term.phase, "always"), gib(term.bytes))
    table.add_section()
    for phase, said in PHASES.items():
        held = memory.in_phase(phase)  # type: ignore[arg-type]
        style = "bold" if phase == memory.peak_phase else None
        table.add_row("together" + (" (peak)" if style else ""), said, gib(held), style=style)
    return table


def layouts_table(memories: Sequence[DeviceMemory], device_gib: float | None) -> Table:
    """Peak of a device on each layout."""
    table = Table(title="The same run on other layouts", title_justify="left")
    table.add_column("layout")
    table.add_column("peak a device", justify="right")
    table.add_column("in")
    if device_gib is not None:
        table.add_column(f"of {device_gib:g} GiB")
    for memory in memories:
        fits = [] if device_gib is None else [f"{memory.peak / 2**30 / device_gib:.0%}"]
        table.add_row(memory.layout.title, gib(memory.peak), PHASES[memory.peak_phase], *fits)
    return table


def _fits(memory: DeviceMemory, device_gib: float) -> str:
    return f"The peak is {memory.peak / 2**30 / device_gib:.0%} of a device of {device_gib:g} GiB."


def _pairs(title: str, rows: object) -> Table:
    table = Table(title=title, title_justify="left", show_header=False)
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for name, said in rows:  # type: ignore[attr-defined]
        table.add_row(name, said)
    return table
