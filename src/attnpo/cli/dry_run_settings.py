"""A dry run's settings: read as the planned processes would read them, whatever this machine is."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from attnpo.cli.contradictions import idle_settings
from attnpo.cli.parsing import given_by_flags, given_settings, parse
from attnpo.cli.settings_file import read_settings
from attnpo.training import AttnPOConfig
from attnpo.training.checks import Findings
from attnpo.training.estimate import Layout, read_layout


def asked_layout(argv: Sequence[str]) -> Layout | None:
    """Return the layout that `--layout` names, None without it.

    Raises:
        ConfigError: the file cannot be read as one.
    """
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    parser.add_argument("--layout")
    parser.add_argument("--config")
    known, _ = parser.parse_known_args(list(argv))
    path = known.layout
    if path is None and known.config is not None:
        path = read_settings(Path(known.config)).get("layout")
    return None if path is None else read_layout(path)


def planned_config(processes: int) -> type[AttnPOConfig]:
    """Return the training configuration as one of `processes` processes on the machine to come would see it."""

    @dataclass
    class PlannedConfig(AttnPOConfig):
        use_cpu: bool = False

        def __post_init__(self) -> None:
            """Validate; what needs an accelerator is checked with everything else, for the machine that is planned."""
            on_cpu: bool = self.use_cpu
            if not torch.accelerator.is_available():
                self.use_cpu = True
            super().__post_init__()
            self.use_cpu = on_cpu

        def runs_on_cpu(self) -> bool:
            """Not known here."""
            return False

        @property
        def world_size(self) -> int:
            """The number of planned processes."""
            return processes

    return PlannedConfig


def parse_planned(
    argv: Sequence[str],
    dataclass_types: Sequence[Any],
    layout: Layout,
    description: str,
    example: str,
    findings: Findings,
) -> tuple[Any, Any, Any, AttnPOConfig]:
    """Parse the settings; settings that would do nothing go into the findings.

    Raises:
        ConfigError: a setting does not exist, or its value is not allowed.
    """
    types = [*dataclass_types[:-1], planned_config(layout.processes)]
    parsed = parse("train", types, argv, description, example)
    values = {name: value for part in parsed for name, value in vars(part).items()}
    given = given_settings(types, argv)
    for line in idle_settings(given, given_by_flags(types, argv), values):
        findings.refuse(line)
    return parsed
