"""A small training configuration that tests share."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from attnpo.training import AttnPOConfig

SETTINGS: dict[str, Any] = {
    "heads": "2.0,1.1",
    "segmentation": "paragraphs",
    "verifier": "exact",
    "num_generations": 4,
    "per_device_train_batch_size": 8,
    "gradient_accumulation_steps": 2,
    "max_completion_length": 192,
    "max_steps": 1,
    "difficulty_schedule": False,
    "learning_rate": 1e-3,
    "group_sampler": True,
    "use_cpu": True,
    "bf16": False,
    "gradient_checkpointing": False,
    "report_to": "none",
    "logging_steps": 1,
    "save_strategy": "no",
    "disable_tqdm": True,
}


def config(output_dir: Path | str, **settings: Any) -> AttnPOConfig:
    return AttnPOConfig(output_dir=str(output_dir), **{**SETTINGS, **settings})
