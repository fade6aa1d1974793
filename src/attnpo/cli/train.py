"""`attnpo train`: reinforcement learning with step credit, on TRL."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from attnpo.cli.console import console, quiet_libraries
from attnpo.cli.flags import is_switched_on
from attnpo.cli.parsing import parse, print_help
from attnpo.workbench.arguments import DataArguments, ProbeArguments, TrainArguments
from attnpo.workbench.idle import idle_settings

DESCRIPTION = "Train a reasoning model to think shorter and no worse (AttnPO), or with a neighbouring method."
EXAMPLE = """  attnpo train --config recipes/tinyworld-attnpo.yaml --learning_rate 1e-4
  attnpo train --model tinyworld --data tinyworld --heads runs/heads/heads.json --segmentation paragraphs \\
      --max_completion_length 320 --max_steps 60 --schedule_steps 15 --learning_rate 5e-4 --output_dir runs/attnpo
  attnpo train --config recipes/tinyworld-attnpo.yaml --probe runs/heads/probing_set.jsonl --probe_min_pearson 0.85

  Evaluated every 20 steps on 64 problems that are not trained on:
  attnpo train --config recipes/tinyworld-attnpo.yaml --heads 2.0 --eval_strategy steps --eval_steps 20 \\
      --eval_data tinyworld --eval_problems 64

  What would it do, and does it fit? Nothing is loaded, nothing sampled; exit code 1 and a line for each contradiction:
  attnpo train --config recipes/tinyworld-attnpo.yaml --heads 2.0 --dry_run
  attnpo train --config recipes/deepseek-r1-distill-qwen-7b.yaml --dry_run --layout recipes/accelerate/zero3.yaml \\
      --device_memory 80

  On one GPU, on eight, on two machines (docs/training.md):
  attnpo train --config recipes/deepseek-r1-distill-qwen-1.5b-lora.yaml
  accelerate launch --config_file recipes/accelerate/multi-gpu.yaml -m attnpo train \\
      --config recipes/deepseek-r1-distill-qwen-1.5b.yaml

  Eq. 1 to 8, PA and NA, and the setting behind each symbol: docs/method.md. What the log holds: docs/logged.md.

  Killed? The same command with --resume_from_checkpoint true goes on from the last checkpoint with the same numbers.
  Every setting of TRL's GRPOConfig and transformers' TrainingArguments is a setting here too."""


def run(argv: Sequence[str]) -> None:
    """Run the command.

    Raises:
        ConfigError: a setting is unknown, not allowed, contradicts another one or would do nothing.
    """
    own = (TrainArguments, DataArguments, ProbeArguments)
    types: tuple[Any, ...] = (*own, "attnpo.training:AdapterSettings", "attnpo.training:AttnPOConfig")
    if {"-h", "--help"} & set(argv):
        print_help("train", types, DESCRIPTION, EXAMPLE)
    quiet_libraries()
    from attnpo.training.checks import Findings
    from attnpo.workbench.limits import note_limit
    from attnpo.workbench.training import train_model

    if is_switched_on(argv, "dry_run"):  # by a flag: no recipe keeps its run from starting
        from attnpo.cli.dry_run import dry_run

        dry_run(argv, types, DESCRIPTION, EXAMPLE)
        return
    parsed = parse("train", types, argv, DESCRIPTION, EXAMPLE)
    findings = Findings()
    for line in idle_settings(parsed.given, parsed.flags, parsed.values):
        findings.refuse(line)
    arguments, data, probe, adapters, args = parsed.parts
    note_limit(args, parsed.given, findings)
    trained = train_model(arguments, data, probe, adapters, args, findings, note=console.print)
    if trained is not None:
        minutes, steps = trained.seconds / 60, trained.steps
        console.print(f"{steps} steps in {minutes:.1f} min; model written to {trained.folder}")
