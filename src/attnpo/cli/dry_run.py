"""`attnpo train --dry_run`: what a run would do and cost, and every contradiction in it, before anything is loaded."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from typing import Any

from attnpo.cli.console import console
from attnpo.errors import AttnPOError
from attnpo.training.estimate import DeviceMemory, Layout, RunPlan


@dataclass
class Findings:
    """What a dry run found.

    Attributes:
        problems: contradictions, one line each; none means that the run can start.
        notes: what is worth knowing and no mistake.
        facts: what was read, name by name, in the order of the way through.
        plan: counts of the run.
        memory: one device's memory, the run's own layout first.
        written: path → what would be written there.
    """

    problems: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    facts: dict[str, str] = field(default_factory=dict)
    plan: RunPlan | None = None
    memory: list[DeviceMemory] = field(default_factory=list)
    written: dict[str, str] = field(default_factory=dict)

    @contextmanager
    def catching(self) -> Iterator[None]:
        """Put a user's mistake among the problems and go on behind the block."""
        try:
            yield
        except AttnPOError as error:
            self.problems.append(str(error))

    def as_json(self) -> dict[str, Any]:
        """Return everything as JSON values; bytes are whole numbers."""
        return {
            "problems": self.problems,
            "notes": self.notes,
            "facts": self.facts,
            "plan": None if self.plan is None else asdict(self.plan),
            "memory": [
                {
                    "layout": asdict(memory.layout),
                    "peak_bytes": memory.peak,
                    "peak_phase": memory.peak_phase,
                    "terms": [asdict(term) for term in memory.terms],
                }
                for memory in self.memory
            ],
            "written": self.written,
        }


def dry_run(argv: Sequence[str], dataclass_types: Sequence[Any], description: str, example: str) -> None:
    """Check the settings, print what they would do, and exit: with 1 where something contradicts itself.

    Args:
        argv: arguments after the command.
        dataclass_types: the settings' dataclasses, `AttnPOConfig` the last.
        description: for `--help`.
        example: for `--help`.
    """
    from attnpo.cli.dry_run_settings import asked_layout, parse_planned

    findings = Findings()
    parsed = None
    layout = Layout()
    with findings.catching():
        layout = asked_layout(argv, dataclass_types)
    if not findings.problems:
        with findings.catching():
            parsed = parse_planned(argv, dataclass_types, layout, description, example, findings)
    if parsed is not None:
        from attnpo.cli.dry_run_checks import examine

        examine(*parsed, layout, findings)
    if parsed is not None and parsed[0].json:
        print(json.dumps(findings.as_json(), indent=2))
    else:
        from attnpo.cli.dry_run_tables import show

        show(findings, console, None if parsed is None else parsed[0].device_memory)
    for problem in findings.problems:
        print(f"attnpo train: error: {problem}", file=sys.stderr)
    sys.exit(1 if findings.problems else 0)
