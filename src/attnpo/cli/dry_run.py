"""`attnpo train --dry_run`: what a run would do and cost, and every contradiction in it, before anything is loaded."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from attnpo.cli.console import console
from attnpo.training.checks import Findings
from attnpo.training.estimate import DeviceMemory, Layout, RunPlan


@dataclass
class DryRun(Findings):
    """What a dry run found, and what the run would do.

    Attributes:
        plan: counts of the run.
        memory: one device's memory, the run's own layout first.
        written: path → what would be written there.
        here: whether the run would take place on this machine.
    """

    plan: RunPlan | None = None
    memory: list[DeviceMemory] = field(default_factory=list)
    written: dict[str, str] = field(default_factory=dict)
    here: bool = True

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

    found = DryRun()
    parsed = layout = None
    with found.catching():
        layout = asked_layout(argv)
    if not found.errors:
        with found.catching():
            parsed = parse_planned(argv, dataclass_types, layout or Layout(), description, example, found)
    if parsed is not None:
        from attnpo.cli.dry_run_estimate import estimate

        found.here = layout is None and parsed[0].device_memory is None
        estimate(*parsed, layout, found)
    if parsed is not None and parsed[0].json:
        print(json.dumps(found.as_json(), indent=2))
    else:
        from attnpo.cli.dry_run_tables import show

        show(found, console, None if parsed is None else parsed[0].device_memory)
    for problem in found.problems:
        print(f"attnpo train: error: {problem}", file=sys.stderr)
    sys.exit(1 if found.errors else 0)
