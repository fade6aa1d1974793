"""`attnpo coldstart`: a model that thinks aloud, and overthinks, from worked solutions."""

from __future__ import annotations

from collections.abc import Sequence

from attnpo.cli.console import console, quiet_libraries
from attnpo.cli.parsing import parse
from attnpo.workbench.arguments import ColdStartArguments, DataArguments

EXAMPLE = """  attnpo coldstart --model smollm2 --chat_template chatml --data gsmworld --num_problems 4800 \\
      --equation_rows 2000 --plain_rows 2400 --style '{"slip": 0.6}' --output_dir runs/coldstart
  attnpo coldstart --model my-instruct-model --data gsm8k_train.jsonl --prompt_column question \\
      --solution_column answer --solution_after '####' --worked_column answer --output_dir runs/coldstart

  writes the adapter (give the folder to --model of any command) with tokenizer and chat template, traces.jsonl, and
  the evaluations before/ and after/. Killed? The same command with --resume_from_checkpoint true goes on. Every
  setting of TRL's SFTConfig is a setting here too."""


def run(argv: Sequence[str]) -> None:
    """Run the command."""
    parsed = parse(
        "coldstart",
        (
            ColdStartArguments,
            DataArguments,
            "attnpo.coldstart:ColdStartConfig",
            "attnpo.coldstart:ColdStartAdapters",
        ),
        argv,
        "Teach a model to think aloud: traces that overthink from worked solutions, then supervised fine-tuning.",
        EXAMPLE,
    )
    quiet_libraries()

    from attnpo.about import write_about
    from attnpo.progress import console_progress
    from attnpo.reporting.result_tables import evaluation_tables
    from attnpo.workbench.coldstart import cold_start

    arguments, data_arguments, config, adapters = parsed.parts
    progress = console_progress(console)
    done = cold_start(arguments, data_arguments, config, adapters, console.print, progress)
    write_about(done.folder, "coldstart", argv)
    if done.before is not None and done.after is not None:
        console.print(*evaluation_tables([done.before, done.after]), sep="\n")
