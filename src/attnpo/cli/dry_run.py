"""`attnpo train --dry_run`: what a run would do and cost, and every contradiction in it, before anything is loaded."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from typing import Any

from attnpo.cli.console import console
from attnpo.cli.dry_run_settings import asked_layout, parse_planned
from attnpo.cli.dry_run_tables import show
from attnpo.training.estimate import Layout
from attnpo.workbench.dry_run import DryRun, estimate


def dry_run(argv: Sequence[str], dataclass_types: Sequence[Any], description: str, example: str) -> None:
    """Check the settings, print what they would do, and exit: with 1 where something contradicts itself.

    Args:
        argv: arguments after the command.
        dataclass_types: the settings' dataclasses, `AttnPOConfig` the last.
        description: for `--help`.
        example: for `--help`.
    """
    found = DryRun()
    parsed = layout = None
    with found.catching():
        layout = asked_layout(argv)
    if not found.errors:
        with found.catching():
            parsed = parse_planned(argv, dataclass_types, layout or Layout(), description, example, found)
    if parsed is not None:
        found.here = layout is None and parsed[0].device_memory is None
        estimate(*parsed, layout, found)
    if parsed is not None and parsed[0].json:
        print(json.dumps(found.as_json(), indent=2))
    else:
        show(found, console, None if parsed is None else parsed[0].device_memory)
    for problem in found.problems:
        print(f"attnpo train: error: {problem}", file=sys.stderr)
    sys.exit(1 if found.errors else 0)
