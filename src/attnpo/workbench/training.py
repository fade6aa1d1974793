"""A training run from settings to a saved model."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import asdict, dataclass
from pathlib import Path

from datasets import Dataset
from transformers.trainer import TRAINER_STATE_NAME

from attnpo.datasets import ProblemRow
from attnpo.errors import ConfigError
from attnpo.output import held, prepare_output_dir
from attnpo.reporting.card import write_model_card
from attnpo.training import AdapterSettings, AttnPOConfig, AttnPOTrainer, LogFileCallback, last_checkpoint
from attnpo.training.checks import Findings
from attnpo.training.checks.vllm import no_server
from attnpo.training.dropped import DroppedLog
from attnpo.training.estimate import launched_layout
from attnpo.workbench.arguments import DataArguments, ProbeArguments, TrainArguments
from attnpo.workbench.planning import plan_run


@dataclass(frozen=True)
class Trained:
    """A finished run.

    Attributes:
        folder: where the model is.
        steps: optimizer steps that it took, those before an interruption too.
        seconds: how long they took, those before an interruption left out.
    """

    folder: Path
    steps: int
    seconds: float


def train_model(
    arguments: TrainArguments,
    data_arguments: DataArguments,
    probe_arguments: ProbeArguments,
    adapters: AdapterSettings,
    args: AttnPOConfig,
    findings: Findings | None = None,
    note: Callable[[str], None] | None = None,
) -> Trained | None:
    """Train one model and save it with its tokenizer, state and log.

    Args:
        arguments: which model.
        data_arguments: which problems.
        probe_arguments: what the heads are probed with.
        adapters: which adapters are trained.
        args: the training settings.
        findings: what was found before.
        note: called with each remark on the run before it starts.

    Returns:
        What was trained; None on all processes but the first.

    Raises:
        AttnPOError: something contradicts itself, with a line for each of several; or training cannot go on.
    """
    findings = Findings() if findings is None else findings
    layout = launched_layout(args.world_size, args.zero_stage())
    planned = plan_run(arguments, data_arguments, probe_arguments, adapters, args, layout, True, findings)
    findings.raise_errors()
    is_first = args.process_index == 0
    if is_first and note is not None:
        for remark in findings.notes:
            note(f"note: {remark}")
    output_dir = prepare_output_dir(Path(args.output_dir))
    with held(output_dir) if is_first else nullcontext():
        if arguments.max_prompt_tokens is not None and is_first:
            DroppedLog(output_dir / "dropped.jsonl").before_training(planned.too_long)
        args.solution_column = "solution"
        try:
            trainer = AttnPOTrainer(
                model=planned.source,
                args=args,
                train_dataset=_dataset(planned.problems),
                eval_dataset=_dataset(planned.eval_problems) if planned.eval_problems else None,
                processing_class=planned.parts.tokenizer,
                callbacks=[LogFileCallback(output_dir / "log.jsonl")],
                peft_config=planned.lora,
                quantization_config=adapters.quantization("bfloat16" if args.bf16 else "float32"),
            )
        except (OSError, RuntimeError) as error:
            if line := no_server(args, error):
                raise ConfigError(line) from error
            raise
        trainer.about.update(model=arguments.model, data=data_arguments.data, adapters=adapters.changed())
        trainer.card_writer = write_model_card
        if planned.probe is not None:
            planned.probe.attach(trainer, args, str(arguments.model), output_dir)
        start = time.perf_counter()
        trainer.train(resume_from_checkpoint=last_checkpoint(args))
        trainer.updates.check_learnt(trainer.state)  # a model that learnt nothing is not written as one that did
        _save(trainer, output_dir)
        trainer.verifier.close()
        if not trainer.is_world_process_zero():
            return None
        return Trained(output_dir, trainer.state.global_step, time.perf_counter() - start)


def _save(trainer: AttnPOTrainer, output_dir: Path) -> None:
    """Save the model, then `trainer_state.json`, which says that it is whole, then write the card or upload all."""
    if trainer.is_world_process_zero():
        (output_dir / TRAINER_STATE_NAME).unlink(missing_ok=True)
    trainer.save_model(_internal_call=True)  # without the upload, which would lack what is saved next
    trainer.save_state()
    if trainer.args.push_to_hub:
        trainer.push_to_hub(commit_message="Model save")  # writes the card, too
    else:
        trainer.create_model_card()


def _dataset(problems: Sequence[ProblemRow]) -> Dataset:
    return Dataset.from_list([{k: v for k, v in asdict(p).items() if k != "extra"} for p in problems])
