"""What a run would write and where."""

from __future__ import annotations

import math
import shutil
from pathlib import Path
from typing import Any

from attnpo.training import AttnPOConfig
from attnpo.training.checks import Findings
from attnpo.training.checks.words import word
from attnpo.training.estimate import ModelShape, RunPlan
from attnpo.training.saving import checkpoints


def written_files(args: AttnPOConfig, shape: ModelShape, probe: Any) -> dict[str, str]:
    """Return what would be written: path → what and how large."""
    folder = Path(args.output_dir)
    model, checkpoint = _sizes(args, shape)
    files = {
        f"{folder}/log.jsonl": "one line every logging_steps updates",
        f"{folder}/": f"the model with tokenizer and trainer_state.json, up to {gib(model)} in float32",
    }
    if word(args.save_strategy) == "steps":
        kept = "all are kept" if args.save_total_limit is None else f"the last {args.save_total_limit} are kept"
        files[f"{folder}/checkpoint-N/"] = f"every {args.save_steps:g} updates, up to {gib(checkpoint)} each; {kept}"
    if args.save_rollouts:
        files[f"{folder}/training_rollouts.jsonl"] = "every training response"
    if args.log_completions:
        files[f"{folder}/completions/"] = "TRL's tables of responses"
    if probe.probe:
        files[f"{folder}/stability.json"] = f"the probe, every {probe.probe_every} updates"
    if args.push_to_hub:
        files[f"Hub: {args.hub_model_id or folder.name}"] = "the model and its card"
    files["free on that disk here"] = gib(_free(folder))
    return files


def note_disk(args: AttnPOConfig, shape: ModelShape, plan: RunPlan, findings: Findings) -> None:
    """Say where the checkpoints that a run keeps take more than the disk of its output folder has free.

    Args:
        args: the training settings.
        shape: sizes of the model.
        plan: counts of the run.
        findings: it is added to.
    """
    folder = Path(args.output_dir)
    model, checkpoint = _sizes(args, shape)
    kept = _kept(args, plan)
    # Those of a run before are written over, or gone on from.
    needed = max(0, kept - len(checkpoints(folder))) * checkpoint + (1 + args.keep_models) * model
    free = _free(folder)
    if needed > free:
        each = f"{kept} checkpoints of up to {gib(checkpoint)} each and " if kept else ""
        findings.note(
            f"output_dir: {each}the model take up to {gib(needed)}, and {gib(free)} are free on the disk of {folder} "
            "here; set save_total_limit or save_only_model, raise save_steps, or choose a larger disk"
        )


def _sizes(args: AttnPOConfig, shape: ModelShape) -> tuple[int, int]:
    """Return the bytes of a saved model and of a checkpoint, in float32: what is trained has two states of AdamW's."""
    model = (shape.trainable if shape.frozen else shape.parameters) * 4
    return model, model + (0 if args.save_only_model else shape.trainable * 8)


def _kept(args: AttnPOConfig, plan: RunPlan) -> int:
    """Return the most checkpoints that lie there at once: one more than are kept, before the oldest is removed."""
    every = args.save_steps if args.save_steps >= 1 else math.ceil(plan.updates * args.save_steps)
    strategies = {"steps": math.ceil(plan.updates / every), "epoch": math.ceil(plan.epochs)}
    made = strategies.get(word(args.save_strategy), 0)
    return made if args.save_total_limit is None else min(made, args.save_total_limit + 1)


def _free(folder: Path) -> int:
    return shutil.disk_usage(next(p for p in (folder, *folder.absolute().parents) if p.exists())).free


def gib(number: float) -> str:
    """Return bytes as text."""
    return f"{number / 2**30:,.1f} GiB" if number >= 2**30 else f"{number / 2**20:,.1f} MiB"


def said_model(name: str, config: Any, shape: ModelShape) -> str:
    """Return a model's size in words."""
    trained = f", {shape.trainable / 1e6:,.1f} M of them trained (LoRA)" if shape.frozen else ""
    size = f"{shape.parameters / 1e6:,.1f} M parameters in {len(shape.layers)} layers"
    return f"{name}: {config.model_type}, {size}{trained}"
