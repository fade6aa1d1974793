"""`attnpo compare`: evaluated runs beside a base run, with paired differences."""

from __future__ import annotations

import argparse
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from attnpo.cli.console import console
from attnpo.cli.flags import OneLineParser, read_flags
from attnpo.errors import ConfigError

if TYPE_CHECKING:
    from attnpo.evaluation.suites import MeasuredRun

EXAMPLE = """example:
  attnpo compare runs/base/evaluation.json runs/tlmre/evaluation.json runs/attnpo/evaluation.json
  attnpo compare runs/base runs/attnpo --output_dir runs/comparison
  attnpo compare runs/base --runs attnpo=runs/seed-1/attnpo,runs/seed-2/attnpo,runs/seed-3/attnpo
  attnpo compare runs/base-on-vllm runs/attnpo-on-server --allow engine

  A run is an evaluation.json, its folder, or a folder that holds one such folder a benchmark. Runs of one name are runs
  (seeds) of one arm. Runs that were not made alike are refused, with all settings that differ."""


def build_parser() -> argparse.ArgumentParser:
    """Return the command's parser."""
    parser = OneLineParser(
        prog="attnpo compare",
        description="Compare evaluated runs with a base run: paired differences with intervals over problems (and over "
        "runs, where an arm has several), pass@k, token budgets, and the Accuracy–Efficiency Score.",
        epilog=EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("paths", nargs="*", type=Path, metavar="RUN", help="The base run, then the others.")
    parser.add_argument(
        "--runs",
        action="append",
        default=[],
        metavar="ARM=RUN,RUN",
        help="An arm and its runs, one a seed; may be given several times. The first is the base if no RUN is.",
    )
    parser.add_argument(
        "--allow",
        default="",
        metavar="SETTING,SETTING",
        help="Settings that may differ, as the refusal names them; `sampling` covers all of it. The output says so.",
    )
    parser.add_argument(
        "--output_dir",
        type=Path,
        default=None,
        help="Write comparison.{md,csv,json,html} and frontier.{png,svg} into this folder.",
    )
    parser.add_argument("--title", default="attnpo compare", help="Title of the page.")
    parser.add_argument("--level", type=float, default=0.95, help="Coverage of the intervals (default 0.95).")
    parser.add_argument("--resamples", type=int, default=2000, help="Bootstrap resamples (default 2000).")
    parser.add_argument("--seed", type=int, default=0, help="Seed of the resamples (default 0).")
    return parser


def run(argv: Sequence[str]) -> None:
    """Run the command."""
    parser = build_parser()
    read_flags(argv, parser)
    arguments = parser.parse_args(list(argv))
    from attnpo.evaluation.comparison import Bootstrap
    from attnpo.evaluation.suites import compare_runs, group_runs, load_run
    from attnpo.output import prepare_output_dir
    from attnpo.reporting.compare_page import write_comparison
    from attnpo.reporting.result_tables import comparison_tables

    bootstrap = Bootstrap(arguments.level, arguments.resamples, arguments.seed)
    if arguments.output_dir is not None:
        prepare_output_dir(arguments.output_dir)
    named: dict[str, list[MeasuredRun]] = {}
    for arm in arguments.runs:
        name, _, paths = arm.partition("=")
        if not name.strip() or not words(paths):
            raise ConfigError(f"--runs {arm}: give an arm and its runs as ARM=RUN,RUN")
        named.setdefault(name.strip(), []).extend(load_run(Path(path)) for path in words(paths))
    arms = group_runs([load_run(path) for path in arguments.paths], named)
    comparison = compare_runs(arms, words(arguments.allow), bootstrap)
    console.print(*comparison_tables(comparison), sep="\n")
    for text in comparison.caveats:
        console.print(f"caveat: {text}")
    if arguments.output_dir is not None:
        command = shlex.join(["attnpo", "compare", *argv])
        for path in write_comparison(comparison, arguments.output_dir, arguments.title, command):
            console.print(f"written to {path}")


def words(text: str) -> list[str]:
    """Return the words of a list with commas."""
    return [word.strip() for word in text.split(",") if word.strip()]
