"""`attnpo gradients`: what every credit changes, and with how much noise, measured in one gradient."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from attnpo.cli.console import console, quiet_libraries
from attnpo.cli.parsing import parse
from attnpo.workbench.arguments import DataArguments, GradientsArguments, ModelArguments, StepArguments

EXAMPLE = """  attnpo gradients --model tinyworld --data tinyworld --num_problems 512 --max_new_tokens 256 \\
      --segmentation paragraphs --verifier exact --labeler attnpo.tinyworld:label_steps --heads 2.3,2.1 \\
      --output_dir runs/gradients
  attnpo gradients --model my-model --rollouts runs/heads/discovery_rollouts.jsonl --heads runs/heads/heads.json \\
      --methods attnpo attnpo+alpha_len=0.2,0.6+lam=0 alp+beta=1e-4,1e-3 --output_dir runs/gradients

  writes gradients.json, gradients.md (all tables) and gradients.svg. No training: one forward pass a batch and one
  backward pass for each credit that is no sum of others. Interrupted? The same command goes on after the last batch."""


def run(argv: Sequence[str]) -> None:
    """Run the command."""
    parsed = parse(
        "gradients",
        (GradientsArguments, ModelArguments, DataArguments, StepArguments),
        argv,
        "Hold credits against each other on the same responses: first-order changes, direction, noise.",
        EXAMPLE,
    )
    quiet_libraries()
    from attnpo.about import write_about
    from attnpo.output import prepare_output_dir
    from attnpo.progress import console_progress
    from attnpo.reporting.gradient_bins import BINS_NOTE, bins_table, over_reference_tables
    from attnpo.reporting.gradients import NOTE, TITLES, gradients_table, left_out, sentence
    from attnpo.workbench.differentiating import measure_gradients

    arguments, model, data, steps = parsed.parts
    output_dir = prepare_output_dir(Path(arguments.output_dir))
    write_about(output_dir, "gradients", argv)
    with console_progress(console) as progress:
        result = measure_gradients(arguments, model, data, steps, progress)
    for metric in TITLES:
        console.print(gradients_table(result, metric))
    console.print(NOTE)
    if result.redundancy_bins:
        console.print(bins_table(result))
        for metric, title in TITLES.items():
            for table in over_reference_tables(result, metric, title):
                console.print(table)
        console.print(BINS_NOTE)
    console.print(sentence(result))
    if result.left_out:
        console.print(left_out(result))
    console.print(f"written to {output_dir}")
