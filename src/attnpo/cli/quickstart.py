"""`attnpo quickstart`: the whole line on the small world that ships: discover, train, evaluate, report."""

from __future__ import annotations

import time
from collections.abc import Sequence

from attnpo.cli.console import console, quiet_libraries
from attnpo.cli.discover import said_found
from attnpo.cli.evaluate import showing
from attnpo.cli.parsing import parse
from attnpo.study.sizes import QuickstartSizes

EXAMPLE = """  attnpo quickstart
  attnpo quickstart --max_steps 30 --num_eval 300 --output_dir runs/quick

  Interrupted? The same command goes on where it stopped."""


def run(argv: Sequence[str]) -> None:
    """Run the command."""
    (sizes,) = parse(
        "quickstart",
        (QuickstartSizes,),
        argv,
        "Watch AttnPO find the Key-Focus Heads of a small reasoning model, train it, and measure it beside TLMRE.",
        EXAMPLE,
    ).parts
    quiet_libraries()
    from attnpo.progress import console_progress
    from attnpo.reporting.result_tables import evaluation_tables
    from attnpo.study.quickstart import Quickstart

    start = time.perf_counter()
    line = Quickstart(sizes)
    console.rule("1/4  Which attention heads know which steps matter?")
    with console_progress(console) as progress:
        found = line.find_heads(progress)
    for said in [] if found is None else [*said_found(found), f"written to {line.folder}"]:
        console.print(said)
    console.rule("2/4  The model as it is")
    with console_progress(console) as progress:
        line.measure_start(progress, showing(progress))
    console.rule("3/4  Training: length penalty alone (TLMRE), and with step credit (AttnPO)")
    with console_progress(console) as progress:
        line.train(progress)
    console.rule("4/4  What happened")
    console.print(*evaluation_tables(line.results()), sep="\n")
    report = line.report()
    minutes = (time.perf_counter() - start) / 60
    console.print(f"\n{minutes:.1f} minutes. Open {report} in a browser.")
