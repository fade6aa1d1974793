from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from datasets import Dataset
from transformers import AutoModelForCausalLM, AutoTokenizer

from attnpo.tinyworld import checkpoint_path, label_steps, train_dataset
from attnpo.training import AttnPOConfig, AttnPOTrainer


@pytest.fixture(scope="session", autouse=True)
def one_thread():
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def problems() -> Dataset:
    return train_dataset(64, seed=5, difficulties=(1, 2))


@pytest.fixture
def model() -> Any:
    return AutoModelForCausalLM.from_pretrained(checkpoint_path(), dtype=torch.float32)


@pytest.fixture(scope="session")
def tokenizer() -> Any:
    return AutoTokenizer.from_pretrained(checkpoint_path())


def config(output_dir: Path | str, **settings: Any) -> AttnPOConfig:
    defaults: dict[str, Any] = {
        "heads": "2.0,1.1",
        "segmentation": "paragraphs",
        "verifier": "exact",
        "num_generations": 4,
        "per_device_train_batch_size": 8,
        "gradient_accumulation_steps": 2,
        "max_completion_length": 192,
        "max_steps": 1,
        "schedule_steps": 0,
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
    return AttnPOConfig(output_dir=str(output_dir), **{**defaults, **settings})


@pytest.fixture
def make_trainer(model, tokenizer, problems, tmp_path):
    made = []

    def make(model: Any = model, **settings: Any) -> AttnPOTrainer:
        options = {k: settings.pop(k) for k in ("optimizers", "callbacks", "peft_config", "labeler") if k in settings}
        options.setdefault("labeler", label_steps)
        trainer = AttnPOTrainer(
            model, config(tmp_path / "run", **settings), problems, processing_class=tokenizer, **options
        )
        made.append(trainer)
        return trainer

    yield make
    for trainer in made:
        trainer.verifier.close()
