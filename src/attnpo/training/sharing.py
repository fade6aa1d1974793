"""What comes out is written down: `training.json`, from which the model's card is written."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from accelerate.utils import is_peft_model

from attnpo.training.config import AttnPOConfig
from attnpo.training.record import training_record


def save_record(trainer: Any, model_name: str | None, about: Mapping[str, Any], tags: tuple[str, ...]) -> Path:
    """Write what a model was trained with into the run's folder, and return that.

    Args:
        trainer: the `AttnPOTrainer`.
        model_name: what to call the model; the folder's or repository's name if absent.
        about: what the configuration does not know: `model`, `data`, `adapters`.
        tags: tags of the model.
    """
    args: AttnPOConfig = trainer.args
    folder = Path(args.output_dir)
    folder.mkdir(parents=True, exist_ok=True)
    repository = trainer.hub_model_id or args.hub_model_id
    adapter = bool(is_peft_model(trainer.accelerator.unwrap_model(trainer.model)))  # None where peft is missing
    training_record(
        args,
        trainer.credit,
        trainer.first_head_set,
        name=model_name or (repository.rpartition("/")[2] if repository else folder.resolve().name),
        processes=trainer.accelerator.num_processes,
        adapter=adapter,
        own_base=adapter and trainer.source is not None and not trainer.source.is_plain,
        hub_model_id=repository,
        about=about,
        tags=tags,
    ).save(folder)
    return folder


def keep_token_out_of_files(args: AttnPOConfig) -> None:
    """Move a token of the Hub to the environment: transformers saves its arguments and uploads them as they are."""
    if args.hub_token:
        os.environ["HF_TOKEN"], args.hub_token = args.hub_token, None
