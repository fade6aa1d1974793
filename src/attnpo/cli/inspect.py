"""`attnpo inspect`: one response, its steps shaded by what the heads say of them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from attnpo.cli.console import console, quiet_libraries
from attnpo.cli.parsing import parse
from attnpo.output import prepare_output_file, write_atomically
from attnpo.workbench.arguments import DataArguments, InspectArguments, ModelArguments, StepArguments

EXAMPLE = """  attnpo inspect runs/quickstart/base/annotated.jsonl
  attnpo inspect --model tinyworld --heads runs/heads/heads.json --data tinyworld --num_problems 1 \\
      --segmentation paragraphs --max_new_tokens 320 --html trace.html
  attnpo inspect --model tinyworld --heads 2.0 --rollouts runs/base/rollouts.jsonl --problem 3fa1 --sample 2"""


def run(argv: Sequence[str]) -> None:
    """Run the command."""
    arguments, model_arguments, data_arguments, step_arguments = parse(
        "inspect",
        (InspectArguments, ModelArguments, DataArguments, StepArguments),
        argv,
        "Show one response with its steps shaded by score, and score, gamma and label of each.",
        EXAMPLE,
        first="rollouts",
    ).parts
    quiet_libraries()
    from attnpo.progress import console_progress
    from attnpo.reporting import render_trace_html, render_trace_terminal
    from attnpo.workbench.inspecting import scored_response

    html = None if arguments.html is None else Path(arguments.html)
    if html is not None:
        prepare_output_file(html)
    with console_progress(console) as progress:
        rollout = scored_response(arguments, model_arguments, data_arguments, step_arguments, progress)
    render_trace_terminal(rollout, console)
    if not arguments.rollouts and arguments.samples_per_problem == 1 and arguments.sample == 0:
        console.print(
            "one response has no group: its pass rate is 0 or 1, and gamma is that of it; --samples_per_problem 8 "
            "samples a group"
        )
    if html is not None:
        write_atomically(html, render_trace_html(rollout))
        console.print(f"written to {html}")
