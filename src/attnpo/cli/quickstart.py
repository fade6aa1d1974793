"""`attnpo quickstart`: the whole line on one world: discover, train, evaluate, report."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field

from attnpo.cli.console import console, quiet_libraries
from attnpo.cli.discover import said_found
from attnpo.cli.evaluate import showing
from attnpo.cli.parsing import given_value, parse
from attnpo.study.estimate import cell_minutes, core_gflops
from attnpo.study.worlds import TINYWORLD, World, find_world

EXAMPLE = """  attnpo quickstart
  attnpo quickstart --max_steps 30 --num_eval 300 --output_dir runs/quick
  attnpo quickstart --world gsm                       # a pretrained model, problems in real English: no training
  attnpo quickstart --world gsm --help                # its own defaults

  Interrupted? The same command goes on where it stopped."""


@dataclass
class QuickstartArguments:
    """On what."""

    world: str = field(
        default=TINYWORLD.name,
        metadata={"help": "tinyworld (the small world that ships) or gsm (grade-school problems in real English)."},
    )
    model: str | None = field(default=None, metadata={"help": "Model to start from; the world's own if absent."})


def run(argv: Sequence[str]) -> None:
    """Run the command."""
    world = find_world(given_value(argv, "world") or TINYWORLD.name)
    arguments, sizes = parse(
        "quickstart",
        (QuickstartArguments, type(world.quickstart)),
        argv,
        "Watch AttnPO find the Key-Focus Heads of a reasoning model, train it, and measure it beside TLMRE.",
        EXAMPLE,
    ).parts
    quiet_libraries()
    from attnpo.progress import console_progress
    from attnpo.reporting.result_tables import evaluation_tables
    from attnpo.study.quickstart import Quickstart

    start = time.perf_counter()
    line = Quickstart(sizes, world.starting_from(arguments.model))
    if not line.arms:
        console.print(said_training(world))
    parts = 3 + bool(line.arms)
    console.rule(f"1/{parts}  Which attention heads know which steps matter?")
    with console_progress(console) as progress:
        found = line.find_heads(progress)
        causal = line.find_heads_causally(progress)
    for said in [] if found is None else [*said_found(found), f"written to {line.folder}"]:
        console.print(said)
    if causal is not None:
        console.print(causal.sentence())
    console.rule(f"2/{parts}  The model as it is")
    with console_progress(console) as progress:
        line.measure_start(progress, showing(progress))
    if line.arms:
        console.rule(f"3/{parts}  Training: length penalty alone (TLMRE), and with step credit (AttnPO)")
        with console_progress(console) as progress:
            line.train(progress)
    console.rule(f"{parts}/{parts}  What happened")
    console.print(*evaluation_tables(line.results()), sep="\n")
    report = line.report()
    minutes = (time.perf_counter() - start) / 60
    console.print(f"\n{minutes:.1f} minutes. Open {report} in a browser.")


def said_training(world: World) -> str:
    """Return what training would take here and on a GPU, where a quickstart leaves it out."""
    sizes, gflops = world.sizes, core_gflops()
    minutes = cell_minutes(sizes, world, gflops / world.pace.core_gflops)
    return (
        f"Nothing is trained here. A run of {sizes.max_steps} steps of {sizes.responses} responses, and measuring it, "
        f"would take about {minutes:.0f} minutes of one CPU core here ({gflops:.0f} GFLOPS in float32), by "
        f"arithmetic from one measured at {world.pace.core_gflops:.0f}; "
        f"{world.on_gpu}. --max_steps {sizes.max_steps} trains TLMRE and AttnPO; attnpo reproduce --world "
        f"{world.name} makes the whole table."
    )
