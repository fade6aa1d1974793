"""`attnpo train`: reinforcement learning with step credit, on TRL."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from attnpo.cli.arguments import DataArguments
from attnpo.cli.console import console, quiet_libraries
from attnpo.cli.contradictions import idle_settings
from attnpo.cli.parsing import given_by_flags, given_settings, parse
from attnpo.errors import ConfigError, DataError

if TYPE_CHECKING:
    from attnpo.datasets import ProblemRow
    from attnpo.training.dropped import DroppedLog

DESCRIPTION = "Train a reasoning model to think shorter and no worse (AttnPO), or with a neighbouring method."
EXAMPLE = """  attnpo train --config recipes/tinyworld-attnpo.yaml --learning_rate 1e-4
  attnpo train --model tinyworld --data tinyworld --heads runs/heads/heads.json --segmentation paragraphs \\
      --max_completion_length 320 --max_steps 60 --output_dir runs/attnpo
  attnpo train --config recipes/tinyworld-attnpo.yaml --probe runs/heads/probing_set.jsonl --probe_min_pearson 0.85

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


@dataclass
class TrainArguments:
    """Which model; everything else is in the training configuration."""

    model: str | None = field(
        default=None, metadata={"help": "Path or Hub id of a causal language model; 'tinyworld' is the one that ships."}
    )
    use_peft: bool = field(default=False, metadata={"help": "Train LoRA adapters (needs attnpo[peft])."})
    lora_r: int = field(default=16, metadata={"help": "Rank of the adapters."})
    lora_alpha: int = field(default=32, metadata={"help": "Scale of the adapters."})
    max_prompt_tokens: int | None = field(
        default=None,
        metadata={"help": "Leave out problems whose prompt is longer than this many tokens, and say how many."},
    )
    dry_run: bool = field(
        default=False,
        metadata={
            "help": "Load no weights: read configuration, data, tokenizer and heads, check them against each other, "
            "show counts, memory and what would be written. Exit code 1 where something contradicts itself."
        },
    )
    json: bool = field(default=False, metadata={"help": "With dry_run: print the findings as JSON."})
    layout: str | None = field(
        default=None,
        metadata={
            "help": "With dry_run: accelerate's configuration file that the run will be launched with; one process "
            "without it."
        },
    )
    device_memory: float | None = field(
        default=None, metadata={"help": "With dry_run: memory of a device in GiB, to say whether the run fits."}
    )


@dataclass
class ProbeArguments:
    """Whether the heads keep their meaning while the model trains."""

    probe: str | None = field(
        default=None,
        metadata={
            "help": "File of labelled rollouts (discovery's): score them every probe_every steps, log probe/sra and "
            "probe/pearson (with the scores at the start), write stability.json."
        },
    )
    probe_every: int = field(default=20, metadata={"help": "Optimizer steps between two probes."})
    probe_limit: int = field(default=64, metadata={"help": "Take at most this many of the file's responses."})
    probe_min_sra: float | None = field(default=None, metadata={"help": "Warn when SRA falls under this."})
    probe_min_pearson: float | None = field(
        default=None, metadata={"help": "Warn when the correlation with the start falls under this (paper: 0.85)."}
    )
    probe_reselect: bool = field(
        default=False, metadata={"help": "At a warning, choose heads anew on the probe set and train on with them."}
    )


def run(argv: Sequence[str]) -> None:
    """Run the command.

    Raises:
        ConfigError: a setting is unknown, not allowed, contradicts another one or would do nothing.
    """
    quiet_libraries()
    from attnpo.training import AttnPOConfig

    types = (TrainArguments, DataArguments, ProbeArguments, AttnPOConfig)
    if asks_dry_run(argv):
        from attnpo.cli.dry_run import dry_run

        dry_run(argv, types, DESCRIPTION, EXAMPLE)
        return
    arguments, data_arguments, probe_arguments, args = parse("train", types, argv, DESCRIPTION, EXAMPLE)
    values = {**vars(arguments), **vars(data_arguments), **vars(probe_arguments), **vars(args)}
    for line in idle_settings(given_settings(types, argv), given_by_flags(types, argv), values):
        raise ConfigError(line)
    train(arguments, data_arguments, probe_arguments, args)


def asks_dry_run(argv: Sequence[str]) -> bool:
    """Whether the flags ask for a dry run; a recipe cannot."""
    for position, argument in enumerate(argv):
        flag, _, value = argument.partition("=")
        if flag in ("--dry_run", "--dry-run"):
            following = argv[position + 1] if position + 1 < len(argv) else ""
            return (value or following).lower() not in ("false", "0", "no")
    return False


def train(arguments: TrainArguments, data_arguments: DataArguments, probe_arguments: ProbeArguments, args: Any) -> None:
    """Train one model and save it with its tokenizer, state and log."""
    from datasets import Dataset

    from attnpo.cli.arguments import ModelArguments
    from attnpo.cli.loading import load_data, load_tokenizer, model_source
    from attnpo.output import prepare_output_dir
    from attnpo.reporting.card import write_model_card
    from attnpo.training import AttnPOTrainer, LogFileCallback, last_checkpoint
    from attnpo.training.dropped import DroppedLog

    output_dir = prepare_output_dir(Path(args.output_dir))
    source = model_source(arguments.model)
    probe = _Probe.read(probe_arguments, args) if probe_arguments.probe else None
    revision = (args.model_init_kwargs or {}).get("revision")
    tokenizer = load_tokenizer(source, ModelArguments(revision=revision, trust_remote_code=args.trust_remote_code))
    tokenizer.padding_side = tokenizer.truncation_side = "left"
    problems = load_data(data_arguments, args.solution_column, "train")
    args.solution_column = "solution"
    if arguments.max_prompt_tokens is not None:
        log = DroppedLog(output_dir / "dropped.jsonl") if args.process_index == 0 else None
        problems = within_limit(problems, tokenizer, arguments.max_prompt_tokens, log)
    rows = [{k: v for k, v in asdict(problem).items() if k != "extra"} for problem in problems]
    trainer = AttnPOTrainer(
        model=source,
        args=args,
        train_dataset=Dataset.from_list(rows),
        processing_class=tokenizer,
        callbacks=[LogFileCallback(output_dir / "log.jsonl")],
        peft_config=lora_config(arguments) if arguments.use_peft else None,
    )
    trainer.about.update(model=arguments.model, data=data_arguments.data)
    trainer.card_writer = write_model_card
    if probe is not None:
        probe.attach(trainer, args, source, output_dir)
    start = time.perf_counter()
    trainer.train(resume_from_checkpoint=last_checkpoint(args))
    trainer.save_state()
    trainer.save_model()
    if trainer.is_world_process_zero():
        minutes = (time.perf_counter() - start) / 60
        console.print(f"{trainer.state.global_step} steps in {minutes:.1f} min; model written to {output_dir}")
    trainer.verifier.close()


def within_limit(
    problems: Sequence[ProblemRow], tokenizer: Any, limit: int, log: DroppedLog | None = None
) -> list[ProblemRow]:
    """Return the problems whose prompt has at most `limit` tokens; say how many have more, and note them in `log`.

    Raises:
        DataError: none is left.
    """
    from attnpo.sampling.prompts import render_prompt

    lengths = [len(render_prompt(tokenizer, problem.prompt)) for problem in problems]
    kept = [problem for problem, tokens in zip(problems, lengths, strict=True) if tokens <= limit]
    if log is not None:
        pairs = zip(problems, lengths, strict=True)
        log.before_training((p.problem_id, p.prompt, tokens) for p, tokens in pairs if tokens > limit)
    if not kept:
        raise DataError(f"max_prompt_tokens: no prompt has {limit} tokens or fewer; raise it")
    if len(kept) < len(problems):
        console.print(f"{len(problems) - len(kept)} of {len(problems)} problems left out: prompts above {limit} tokens")
    return kept


@dataclass
class _Probe:
    """The probe set, read before the model is loaded."""

    rollouts: list[Any]
    settings: Any

    @classmethod
    def read(cls, arguments: ProbeArguments, args: Any) -> _Probe:
        """Check the settings and read the file.

        Raises:
            ConfigError: a setting is out of range, or contradicts another one.
            DataError: the file holds no response that can be probed with.
        """
        from attnpo.credit import method_class
        from attnpo.discovery.probe import ProbeSettings, read_probe

        if args.heads is None:
            raise ConfigError("--probe: needs heads to probe; give them with --heads")
        if arguments.probe_reselect and not method_class(args.method).needs_scores:
            raise ConfigError(
                f"--probe_reselect: method '{args.method}' reads no attention; there are none to exchange"
            )
        settings = ProbeSettings(
            every=arguments.probe_every,
            min_sra=arguments.probe_min_sra,
            min_pearson=arguments.probe_min_pearson,
            reselect=arguments.probe_reselect,
        )
        return cls(read_probe(Path(str(arguments.probe)), arguments.probe_limit), settings)

    def attach(self, trainer: Any, args: Any, source: str, output_dir: Path) -> None:
        """Let the trainer be probed; joins discovery, which scores, with training, which logs and reads heads."""
        from attnpo.attention import check_readable, resolve_heads
        from attnpo.discovery.stability_callback import StabilityCallback

        heads = trainer.head_set or resolve_heads(args.heads, trainer.model.config)
        check_readable(trainer.model, heads.heads)
        trainer.add_callback(
            StabilityCallback(
                trainer.processing_class,
                self.rollouts,
                heads,
                output_dir,
                self.settings,
                report=trainer.add_metrics,
                on_reselect=trainer.use_heads,
                model_name=source,
            )
        )


def lora_config(arguments: TrainArguments) -> Any:
    """Return PEFT's configuration of the adapters.

    Raises:
        ConfigError: PEFT is not installed.
    """
    try:
        from peft import LoraConfig
    except ImportError as error:
        raise ConfigError("--use_peft: peft is not installed; pip install attnpo[peft]") from error
    return LoraConfig(
        r=arguments.lora_r, lora_alpha=arguments.lora_alpha, task_type="CAUSAL_LM", target_modules="all-linear"
    )
