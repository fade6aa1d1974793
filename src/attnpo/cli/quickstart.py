"""`attnpo quickstart`: the whole line on the small world that ships: discover, train, evaluate, report."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

from attnpo.cli.console import console, quiet_libraries
from attnpo.cli.parsing import parse
from attnpo.ranges import AtLeast1, Seed

EXAMPLE = """  attnpo quickstart
  attnpo quickstart --max_steps 30 --num_eval 300 --output_dir runs/quick

  Interrupted? The same command goes on where it stopped."""


@dataclass
class QuickstartArguments:
    """How much of everything."""

    output_dir: str = field(default="runs/quickstart", metadata={"help": "Folder of all results and report.html."})
    max_steps: AtLeast1 = field(default=32, metadata={"help": "Training steps of each method."})
    num_probe: AtLeast1 = field(
        default=160, metadata={"help": "Problems that heads are looked for on, 8 responses each."}
    )
    num_eval: AtLeast1 = field(default=500, metadata={"help": "Held-out problems that models are measured on."})
    num_traces: AtLeast1 = field(default=6, metadata={"help": "Problems whose traces the report shows."})
    jobs: AtLeast1 = field(default=2, metadata={"help": "Training runs side by side, one CPU thread each."})
    seed: Seed = field(default=0, metadata={"help": "Seed of sampling and training."})


def run(argv: Sequence[str]) -> None:
    """Run the command."""
    (arguments,) = parse(
        "quickstart",
        (QuickstartArguments,),
        argv,
        "Watch AttnPO find the Key-Focus Heads of a small reasoning model, train it, and measure it beside TLMRE.",
        EXAMPLE,
    ).parts
    quiet_libraries()
    quickstart(arguments)


def quickstart(arguments: QuickstartArguments) -> Path:
    """Run the whole line and return the path of the report."""
    import torch

    from attnpo.cli import discover as discover_command
    from attnpo.cli import evaluate as evaluate_command
    from attnpo.evaluation import EvaluationResult
    from attnpo.output import prepare_output_dir
    from attnpo.progress import console_progress
    from attnpo.reporting import write_report
    from attnpo.reporting.result_tables import evaluation_tables
    from attnpo.study.arms import DISCOVERY, EVALUATION, flags, training_arm
    from attnpo.study.running import run_arms

    start = time.perf_counter()
    folder = prepare_output_dir(Path(arguments.output_dir))
    heads = folder / "heads.json"
    torch.set_num_threads(max(1, arguments.jobs))

    _write_about(folder, arguments)

    console.rule("1/4  Which attention heads know which steps matter?")
    if not (folder / "discovery.json").exists():
        settings = {
            **DISCOVERY,
            "num_problems": arguments.num_probe,
            "output_dir": folder,
            "seed": arguments.seed,
        }
        discover_command.run(flags(settings))

    console.rule("2/4  The model as it is")
    if not (folder / "base" / "evaluation.json").exists():
        settings = {
            **EVALUATION,
            "model": "tinyworld",
            "name": "base",
            "num_problems": arguments.num_eval,
            "output_dir": folder / "base",
            "heads": heads,
            "annotate_problems": arguments.num_traces,
        }
        evaluate_command.run(flags(settings))

    console.rule("3/4  Training: length penalty alone (TLMRE), and with step credit (AttnPO)")
    arms = [
        training_arm(
            name,
            folder / name,
            max_steps=arguments.max_steps,
            seed=arguments.seed,
            num_eval=arguments.num_eval,
            heads=heads,
            annotate=arguments.num_traces,
        )
        for name in ("tlmre", "attnpo")
    ]
    with console_progress(console) as progress:
        run_arms(arms, arguments.jobs, progress)

    console.rule("4/4  What happened")
    results = [EvaluationResult.load(folder / name / "evaluation.json") for name in ("base", "tlmre", "attnpo")]
    console.print(*evaluation_tables(results), sep="\n")
    report = write_report(folder)
    minutes = (time.perf_counter() - start) / 60
    console.print(f"\n{minutes:.1f} minutes. Open {report} in a browser.")
    return report


def _write_about(folder: Path, arguments: QuickstartArguments) -> None:
    """Write `run.json`: what the report needs to say how to make it again."""
    from attnpo.about import write_about
    from attnpo.study.arms import EVALUATION, TRAINING, flags

    defaults = QuickstartArguments()
    changed = {k: v for k, v in asdict(arguments).items() if v != getattr(defaults, k)}
    settings = {"quickstart": asdict(arguments), "training": TRAINING, "evaluation": EVALUATION}
    write_about(folder, "quickstart", flags(changed), settings)
