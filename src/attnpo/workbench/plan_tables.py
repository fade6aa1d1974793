"""Tables of a run that is planned: what it would do, hold and write."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from attnpo.tables import Column, Row, Table
from attnpo.training.estimate import DeviceMemory, RunPlan
from attnpo.workbench.written import gib

PHASES = {"sampling": "sampling", "pass": "forward and backward", "update": "optimizer's step"}


def plan_table(plan: RunPlan) -> Table:
    """Return what is sampled and updated."""
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
    return _pairs("What would be done", rows)


def memory_table(memory: DeviceMemory) -> Table:
    """Return one device's memory, term by term, with the peak of each phase."""
    rows = [Row(term.name, (PHASES.get(term.phase, "always"), gib(term.bytes))) for term in memory.terms]
    for i, (phase, said) in enumerate(PHASES.items()):
        is_peak = phase == memory.peak_phase
        held = memory.in_phase(phase)  # type: ignore[arg-type]
        rows.append(Row("together" + " (peak)" * is_peak, (said, gib(held)), strong=is_peak, apart=i == 0))
    columns = (Column("what"), Column("when", words=True), Column("bytes"))
    return Table(columns, tuple(rows), f"Memory of a device, estimated ({memory.layout.title})")


def layouts_table(memories: Sequence[DeviceMemory], device_gib: float | None) -> Table:
    """Return the peak of a device on each layout."""
    columns = [Column("layout"), Column("peak a device"), Column("in", words=True)]
    columns += [] if device_gib is None else [Column(f"of {device_gib:g} GiB")]
    rows = [
        (m.layout.title, gib(m.peak), PHASES[m.peak_phase], *([] if device_gib is None else [_share(m, device_gib)]))
        for m in memories
    ]
    return Table.of("The same run on other layouts", columns, rows)


def said_fit(memory: DeviceMemory, device_gib: float) -> str:
    """Return how much of a device the peak takes."""
    return f"The peak is {_share(memory, device_gib)} of a device of {device_gib:g} GiB."


def written_table(written: Mapping[str, str]) -> Table:
    """Return what would be written where."""
    return _pairs("What would be written", written)


def _share(memory: DeviceMemory, device_gib: float) -> str:
    return f"{memory.peak / 2**30 / device_gib:.0%}"


def _pairs(title: str, rows: Mapping[str, str]) -> Table:
    return Table.of(title, ("", Column("", words=True)), rows.items())
