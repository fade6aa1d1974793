"""`attnpo train`: reinforcement learning with step credit, on TRL."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from attnpo.cli.arguments import DataArguments
from attnpo.cli.console import console, quiet_libraries
from attnpo.cli.parsing import parse

EXAMPLE = """  attnpo train --config recipes/tinyworld-attnpo.yaml --learning_rate 1e-4
  attnpo train --model tinyworld --data tinyworld --heads runs/heads/heads.json --segmentation paragraphs \\
      --max_completion_length 320 --max_steps 60 --output_dir runs/attnpo
  accelerate launch --num_processes 8 -m attnpo train --config recipes/deepseek-r1-distill-1.5b.yaml

  Killed? The same command with --resume_from_checkpoint true goes on from the last checkpoint with the same numbers.
  Every setting of TRL's GRPOConfig and transformers' TrainingArguments is a setting here too."""


@dataclass
class TrainArguments:
    """Which model; everything else is in the training configuration."""

    model: str | None = field(
        default=None, metadata={"help": "Path or Hub id of a causal language model; 'tinyworld' is the one that ships."}
    )
    use_peft: bool = field(default=False, metadata={"help": "Train LoRA adapters (needs attnpo[peft])."})
    lora_r: int = field(default=16, metadata={"help": "Rank of the adapters."})
    lora_alpha: int = field(default=32, metadata={"help": "Scale of the adapters."})


def run(argv: Sequence[str]) -> None:
    """Run the command."""
    quiet_libraries()
    from attnpo.training import AttnPOConfig

    arguments, data_arguments, args = parse(
        "train",
        (TrainArguments, DataArguments, AttnPOConfig),
        argv,
        "Train a reasoning model to think shorter and no worse (AttnPO), or with a neighbouring method.",
        EXAMPLE,
    )
    train(arguments, data_arguments, args)


def train(arguments: TrainArguments, data_arguments: DataArguments, args: Any) -> None:
    """Train one model and save it with its tokenizer, state and log."""
    from datasets import Dataset

    from attnpo.cli.arguments import ModelArguments
    from attnpo.cli.loading import load_data, load_tokenizer, model_source
    from attnpo.output import prepare_output_dir
    from attnpo.training import AttnPOTrainer, LogFileCallback, last_checkpoint

    output_dir = prepare_output_dir(Path(args.output_dir))
    source = model_source(arguments.model)
    revision = (args.model_init_kwargs or {}).get("revision")
    tokenizer = load_tokenizer(source, ModelArguments(revision=revision, trust_remote_code=args.trust_remote_code))
    tokenizer.padding_side = tokenizer.truncation_side = "left"
    problems = load_data(data_arguments, args.solution_column, "train")
    args.solution_column = "solution"
    rows = [{k: v for k, v in asdict(problem).items() if k != "extra"} for problem in problems]
    trainer = AttnPOTrainer(
        model=source,
        args=args,
        train_dataset=Dataset.from_list(rows),
        processing_class=tokenizer,
        callbacks=[LogFileCallback(output_dir / "log.jsonl")],
        peft_config=_lora(arguments) if arguments.use_peft else None,
    )
    start = time.perf_counter()
    trainer.train(resume_from_checkpoint=last_checkpoint(args))
    trainer.save_state()
    trainer.save_model()
    if trainer.is_world_process_zero():
        minutes = (time.perf_counter() - start) / 60
        console.print(f"{trainer.state.global_step} steps in {minutes:.1f} min; model written to {output_dir}")
    trainer.verifier.close()


def _lora(arguments: TrainArguments) -> Any:
    from attnpo.errors import ConfigError

    try:
        from peft import LoraConfig
    except ImportError as error:
        raise ConfigError("--use_peft: peft is not installed; pip install attnpo[peft]") from error
    return LoraConfig(
        r=arguments.lora_r, lora_alpha=arguments.lora_alpha, task_type="CAUSAL_LM", target_modules="all-linear"
    )
