"""Supervised fine-tuning on traces, with TRL's trainer."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from datasets import Dataset
from safetensors.torch import load_file, save_file
from torch import bfloat16
from trl import SFTTrainer

from attnpo.coldstart.config import ColdStartConfig

ADAPTER = "adapter_model.safetensors"


def fine_tune(
    model: Any,
    tokenizer: Any,
    rows: Sequence[Mapping[str, list[int]]],
    config: ColdStartConfig,
    adapters: Any = None,
    resume_from: str | None = None,
) -> Any:
    """Train a model on rows of token ids and save it, adapters in bfloat16, with its tokenizer and log.

    Args:
        model: the model.
        tokenizer: its tokenizer, whose chat template opens the think part.
        rows: as `training_rows` makes them.
        config: settings.
        adapters: a `peft.LoraConfig`; None trains all weights.
        resume_from: checkpoint to go on from; None starts anew.

    Returns:
        The trainer.
    """
    steps = config.max_steps if config.max_steps > 0 else planned_steps(len(rows), config)
    if config.lr_scheduler_type == "warmup_stable_decay" and not config.lr_scheduler_kwargs:
        config.lr_scheduler_kwargs = config.schedule(steps)
    trainer = SFTTrainer(
        model,
        args=config,
        train_dataset=Dataset.from_list([dict(row) for row in rows]),
        processing_class=tokenizer,
        peft_config=adapters,
    )
    trainer.train(resume_from_checkpoint=resume_from)
    trainer.save_model()
    trainer.save_state()
    return trainer


def planned_steps(rows: int, config: ColdStartConfig) -> int:
    """Return how many optimizer steps a run over `rows` rows takes."""
    passes = math.ceil(rows / (config.per_device_train_batch_size * max(config.world_size, 1)))
    return math.ceil(config.num_train_epochs * math.ceil(passes / config.gradient_accumulation_steps))


def finish_adapter(folder: Path, base: str) -> int:
    """Store a folder's adapter in bfloat16 and name its base; returns the bytes of its weights."""
    file = folder / ADAPTER
    save_file({name: weights.to(bfloat16) for name, weights in load_file(file).items()}, file, {"format": "pt"})
    settings = json.loads((folder / "adapter_config.json").read_text(encoding="utf-8"))
    settings["base_model_name_or_path"] = base
    (folder / "adapter_config.json").write_text(json.dumps(settings, indent=2, sort_keys=True) + "\n", encoding="utf-8")
    return file.stat().st_size
