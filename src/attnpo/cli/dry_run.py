"""`attnpo train --dry_run`: what a run would do and cost, and every contradiction in it, before anything is loaded."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from typing import Any

from rich.text import Text

from attnpo.cli.console import console
from attnpo.cli.flags import OneLineParser, is_switched_on
from attnpo.cli.parsing import config_path, parse
from attnpo.cli.settings_file import read_settings
from attnpo.training.estimate import Layout, read_layout
from attnpo.workbench.dry_run import DryRun, estimate, planned_config
from attnpo.workbench.idle import idle_settings
from attnpo.workbench.limits import note_limit
from attnpo.workbench.plan_tables import layouts_table, memory_table, plan_table, said_fit, written_table

OUTSIDE = "Not counted: the CUDA context and NCCL (about 1 GiB), and memory that the allocator cannot reuse."
HERE = "the same command without --dry_run starts the run."
ELSEWHERE = "what only the machine planned for can tell is checked when the run starts there."


def dry_run(argv: Sequence[str], settings_types: Sequence[Any], description: str, example: str) -> None:
    """Check the settings, print what they would do, and exit: with 1 where something contradicts itself.

    Args:
        argv: arguments after the command.
        settings_types: what holds the settings, `AttnPOConfig` the last.
        description: for `--help`.
        example: for `--help`.
    """
    found = DryRun()
    memory, as_json = None, is_switched_on(argv, "json")
    with found.catching():
        layout = asked_layout(argv)
        types = [*settings_types[:-1], planned_config((layout or Layout()).processes, here=layout is None)]
        parsed = parse("train", types, argv, description, example)
        for line in idle_settings(parsed.given, parsed.flags, parsed.values):
            found.refuse(line)
        arguments, data, probe, adapters, args = parsed.parts
        note_limit(args, parsed.given, found)
        memory, as_json = arguments.device_memory, arguments.json
        found.here = layout is None and memory is None
        estimate(arguments, data, probe, adapters, args, layout, found)
    if as_json:
        print(json.dumps(found.as_json(), indent=2))
    else:
        show(found, memory)
    for problem in found.problems:
        print(f"attnpo train: error: {problem}", file=sys.stderr)
    sys.exit(1 if found.errors else 0)


def asked_layout(argv: Sequence[str]) -> Layout | None:
    """Return the layout that `--layout` or the settings file names, None without it.

    Raises:
        ConfigError: a file cannot be read.
    """
    config, arguments = config_path(argv)
    parser = OneLineParser(add_help=False)
    parser.add_argument("--layout")
    path = parser.parse_known_args(arguments)[0].layout
    if path is None and config is not None:
        path = read_settings(config).get("layout")
    return None if path is None else read_layout(str(path))


def show(found: DryRun, device_gib: float | None = None) -> None:
    """Print what was read, counted and estimated; problems are the caller's to print."""
    for name, said in found.facts.items():
        console.print(Text.assemble((f"{name:<10}", "bold"), said))
    if found.plan is not None:
        console.print(plan_table(found.plan))
    if found.memory:
        console.print(memory_table(found.memory[0]), OUTSIDE, sep="\n")
        if len(found.memory) > 1:
            console.print(layouts_table(found.memory, device_gib))
        elif device_gib is not None:
            console.print(said_fit(found.memory[0], device_gib))
    if found.written:
        console.print(written_table(found.written))
    for note in found.notes:
        console.print(f"note: {note}")
    if not found.errors:
        console.print(f"No contradiction found; {HERE if found.here else ELSEWHERE}")
