from __future__ import annotations

from typing import Any

import pytest
import torch
from datasets import Dataset
from small_training import config
from transformers import AutoModelForCausalLM, AutoTokenizer

from attnpo.tinyworld import checkpoint_path, label_steps, train_dataset
from attnpo.training import AttnPOTrainer


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


@pytest.fixture
def make_trainer(model, tokenizer, problems, tmp_path):
    made = []

    def make(model: Any = model, **settings: Any) -> AttnPOTrainer:
        own = ("optimizers", "callbacks", "peft_config", "labeler", "processing_class", "heads_given")
        options = {"labeler": label_steps, "processing_class": tokenizer}
        options |= {name.removesuffix("_given"): settings.pop(name) for name in own if name in settings}
        trainer = AttnPOTrainer(model, config(tmp_path / "run", **settings), problems, **options)
        made.append(trainer)
        return trainer

    yield make
    for trainer in made:
        trainer.verifier.close()
