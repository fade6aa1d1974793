"""What a run would write and where."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from attnpo.training import AttnPOConfig
from attnpo.training.estimate import ModelShape


def written_files(args: AttnPOConfig, shape: ModelShape, probe: Any) -> dict[str, str]:
    """Return what would be written: path → what and how large."""
    folder = Path(args.output_dir)
    model = shape.trainable * 4 if shape.frozen else shape.parameters * 4
    checkpoint = model + shape.trainable * 8
    files = {
        f"{folder}/log.jsonl": "one line every logging_steps updates",
        f"{folder}/": f"the model with tokenizer and trainer_state.json, up to {gib(model)} in float32",
    }
    if getattr(args.save_strategy, "value", args.save_strategy) == "steps":
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
    free = shutil.disk_usage(next(p for p in (folder, *folder.absolute().parents) if p.exists())).free
    files["free on that disk here"] = gib(free)
    return files


def gib(number: float) -> str:
    """Return bytes as text."""
    return f"{number / 2**30:,.1f} GiB" if number >= 2**30 else f"{number / 2**20:,.1f} MiB"


def said_model(name: str, config: Any, shape: ModelShape) -> str:
    """Return a model's size in words."""
    trained = f", {shape.trainable / 1e6:,.1f} M of them trained (LoRA)" if shape.frozen else ""
    size = f"{shape.parameters / 1e6:,.1f} M parameters in {len(shape.layers)} layers"
    return f"{name}: {config.model_type}, {size}{trained}"
