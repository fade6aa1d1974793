"""`attnpo report`: one HTML page that shows what a run did."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from attnpo.cli.console import console
from attnpo.cli.parsing import parse

EXAMPLE = """  attnpo report runs/quickstart
  attnpo report --run_dir runs/mine --output mine.html --title "AttnPO on our 7B"

  Looks in the folder and one level below for discovery.json, intervention.json, transfer.json, stability.json and
  verification.json; for evaluation.json (or a folder a benchmark), trainer_state.json or log.jsonl, training.json and
  annotated.jsonl. So runs/mine/heads, runs/mine/train and runs/mine/eval make one page of runs/mine, which says
  whether heads, training and evaluation are of one model."""


@dataclass
class ReportArguments:
    """What to report on."""

    run_dir: str | None = field(default=None, metadata={"help": "Folder of the run; the first argument will do."})
    output: str | None = field(default=None, metadata={"help": "HTML file; report.html in the folder if absent."})
    title: str | None = field(default=None, metadata={"help": "Title of the page."})


def run(argv: Sequence[str]) -> None:
    """Run the command."""
    description = "Write one self-contained HTML page that shows what a run did."
    (arguments,) = parse("report", (ReportArguments,), argv, description, EXAMPLE, first="run_dir").parts
    from attnpo.errors import ConfigError
    from attnpo.reporting import write_report

    if not arguments.run_dir:
        raise ConfigError("--run_dir: name the folder of a run, such as runs/quickstart")
    output = None if arguments.output is None else Path(arguments.output)
    path = write_report(Path(arguments.run_dir), output, arguments.title)
    console.print(f"written to {path}")
