"""`attnpo train`: reinforcement learning with step credit, on TRL."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from attnpo.cli.arguments import DataArguments
from attnpo.cli.console import console, quiet_libraries
from attnpo.cli.contradictions import idle_settings
from attnpo.cli.parsing import given_by_flags, given_settings, parse, print_help
from attnpo.cli.train_arguments import ProbeArguments, TrainArguments

if TYPE_CHECKING:
    from datasets import Dataset

    from attnpo.datasets import ProblemRow
    from attnpo.training import AttnPOConfig
    from attnpo.training.checks import Findings

DESCRIPTION = "Train a reasoning model to think shorter and no worse (AttnPO), or with a neighbouring method."
EXAMPLE = """  attnpo train --config recipes/tinyworld-attnpo.yaml --learning_rate 1e-4
  attnpo train --model tinyworld --data tinyworld --heads runs/heads/heads.json --segmentation paragraphs \\
      --max_completion_length 320 --max_steps 60 --output_dir runs/attnpo
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

  Killed? The same command with --resume_from_checkpoint true goes on from the last checkpoint with the same numbers.
  Every setting of TRL's GRPOConfig and transformers' TrainingArguments is a setting here too."""


def run(argv: Sequence[str]) -> None:
    """Run the command.

    Raises:
        ConfigError: a setting is unknown, not allowed, contradicts another one or would do nothing.
    """
    types: tuple[Any, ...] = (TrainArguments, DataArguments, ProbeArguments, "attnpo.training:AttnPOConfig")
    if {"-h", "--help"} & set(argv):
        print_help("train", types, DESCRIPTION, EXAMPLE)
    quiet_libraries()
    from attnpo.training.checks import Findings

    if asks_dry_run(argv):
        from attnpo.cli.dry_run import dry_run

        dry_run(argv, types, DESCRIPTION, EXAMPLE)
        return
    parsed = parse("train", types, argv, DESCRIPTION, EXAMPLE)
    values = {name: value for part in parsed for name, value in vars(part).items()}
    findings = Findings()
    for line in idle_settings(given_settings(types, argv), given_by_flags(types, argv), values):
        findings.refuse(line)
    arguments, data_arguments, probe_arguments, args = parsed
    train(arguments, data_arguments, probe_arguments, args, findings)


def asks_dry_run(argv: Sequence[str]) -> bool:
    """Whether the flags ask for a dry run; a recipe cannot."""
    for position, argument in enumerate(argv):
        flag, _, value = argument.partition("=")
        if flag in ("--dry_run", "--dry-run"):
            following = argv[position + 1] if position + 1 < len(argv) else ""
            return (value or following).lower() not in ("false", "0", "no")
    return False


def train(
    arguments: TrainArguments,
    data_arguments: DataArguments,
    probe_arguments: ProbeArguments,
    args: AttnPOConfig,
    findings: Findings | None = None,
) -> None:
    """Train one model and save it with its tokenizer, state and log.

    Args:
        arguments: which model.
        data_arguments: which problems.
        probe_arguments: what the heads are probed with.
        args: the training settings.
        findings: what was found before.

    Raises:
        AttnPOError: something contradicts itself, with a line for each of several; or training cannot go on.
    """
    from attnpo.cli.planning import plan_run
    from attnpo.output import prepare_output_dir
    from attnpo.reporting.card import write_model_card
    from attnpo.training import AttnPOTrainer, LogFileCallback, last_checkpoint
    from attnpo.training.checks import Findings
    from attnpo.training.dropped import DroppedLog
    from attnpo.training.estimate import launched_layout

    findings = Findings() if findings is None else findings
    layout = launched_layout(args.world_size, args.zero_stage())
    planned = plan_run(arguments, data_arguments, probe_arguments, args, layout, True, findings)
    findings.raise_errors()
    is_first = args.process_index == 0
    for note in findings.notes if is_first else ():
        console.print(f"note: {note}", markup=False, soft_wrap=True)
    output_dir = prepare_output_dir(Path(args.output_dir))
    if arguments.max_prompt_tokens is not None and is_first:
        DroppedLog(output_dir / "dropped.jsonl").before_training(planned.too_long)
    args.solution_column = "solution"
    trainer = AttnPOTrainer(
        model=planned.source,
        args=args,
        train_dataset=_dataset(planned.problems),
        eval_dataset=_dataset(planned.eval_problems) if planned.eval_problems else None,
        processing_class=planned.parts.tokenizer,
        callbacks=[LogFileCallback(output_dir / "log.jsonl")],
        peft_config=planned.lora,
    )
    trainer.about.update(model=arguments.model, data=data_arguments.data)
    trainer.card_writer = write_model_card
    if planned.probe is not None:
        planned.probe.attach(trainer, args, str(planned.source), output_dir)
    start = time.perf_counter()
    trainer.train(resume_from_checkpoint=last_checkpoint(args))
    trainer.save_state()
    trainer.updates.check_learnt(trainer.state)  # a model that learnt nothing is not written as one that did
    trainer.save_model()
    if trainer.is_world_process_zero():
        minutes = (time.perf_counter() - start) / 60
        console.print(f"{trainer.state.global_step} steps in {minutes:.1f} min; model written to {output_dir}")
    trainer.verifier.close()


def _dataset(problems: Sequence[ProblemRow]) -> Dataset:
    from datasets import Dataset

    return Dataset.from_list([{k: v for k, v in asdict(p).items() if k != "extra"} for p in problems])
