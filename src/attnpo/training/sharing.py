"""What comes out is written down: `training.json`, the model's card, and both on the Hub where that is asked for."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from accelerate.utils import is_peft_model

from attnpo.attention import HeadSet
from attnpo.credit import Method
from attnpo.training.config import AttnPOConfig
from attnpo.training.lasting import LastingTrainer
from attnpo.training.record import training_record


class SharingTrainer(LastingTrainer):
    """`LastingTrainer` that records what a model was trained with, and writes its card.

    Attributes:
        about: what the configuration does not know of the run: `model` and `data` as the user named them.
        card_writer: writes the card from the folder (`attnpo.reporting.card.write_model_card`); TRL's card if absent.
    """

    credit: Method
    head_set: HeadSet | None

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self.about: dict[str, Any] = {}
        self.card_writer: Callable[[Path], Any] | None = None
        _keep_token_out_of_files(kwargs["args"])
        super().__init__(*args, **kwargs)
        self.first_head_set = self.head_set  # others may take its place while training

    def save_model(self, output_dir: str | None = None, _internal_call: bool = False) -> None:
        """Save the model and, where it is the run's result, its card; see transformers' `Trainer.save_model`."""
        super().save_model(output_dir, _internal_call)
        ours = output_dir is None or Path(output_dir) == Path(self.args.output_dir)
        if ours and not _internal_call and not self.args.push_to_hub:  # an upload writes the card itself
            self.create_model_card()

    def create_model_card(
        self, model_name: str | None = None, dataset_name: str | None = None, tags: str | list[str] | None = None
    ) -> None:
        """Write `training.json` and the card into `output_dir`; TRL calls it at every checkpoint and upload.

        Args:
            model_name: what to call the model; the folder's or repository's name if absent.
            dataset_name: data set, where `about` names none.
            tags: further tags.
        """
        if not self.is_world_process_zero():
            return
        folder = Path(self.args.output_dir)
        folder.mkdir(parents=True, exist_ok=True)
        repository = self.hub_model_id or self.args.hub_model_id
        name = model_name or (repository.rpartition("/")[2] if repository else folder.resolve().name)
        training_record(
            self.args,
            self.credit,
            self.first_head_set,
            name=name,
            processes=self.accelerator.num_processes,
            adapter=bool(is_peft_model(self.accelerator.unwrap_model(self.model))),  # None where peft is not installed
            hub_model_id=repository,
            about={"data": dataset_name, **self.about},
            tags=(*self._tag_names, *([tags] if isinstance(tags, str) else tags or [])),
        ).save(folder)
        if self.card_writer is None:
            super().create_model_card(model_name, dataset_name, tags)
        elif self.args.push_to_hub or not self.is_in_train:  # pictures at every checkpoint are for nobody
            self.card_writer(folder)


def _keep_token_out_of_files(args: AttnPOConfig) -> None:
    """Move a token of the Hub to the environment: transformers saves its arguments and uploads them as they are."""
    if args.hub_token:
        os.environ["HF_TOKEN"], args.hub_token = args.hub_token, None
