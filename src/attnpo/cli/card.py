"""`attnpo card`: the model card of a trained model, and its way to the Hub."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from attnpo.cli.console import console, quiet_libraries
from attnpo.cli.parsing import parse

EXAMPLE = """  attnpo card runs/mine
  attnpo card runs/mine --base runs/base
  attnpo card runs/mine --base runs/base --push_to_hub me/my-model --private true

  The folder is the output_dir of `attnpo train`. The card says how the model was trained, which heads judged its steps
  and what supports them, and, where `attnpo evaluate` wrote into the folder, accuracy and tokens before and after. It
  keeps the license and whatever else you write into it below the marked line."""


@dataclass
class CardArguments:
    """Which run, what it is compared with, where it goes."""

    run_dir: str | None = field(default=None, metadata={"help": "The run's folder; the first argument will do."})
    base: str | None = field(
        default=None,
        metadata={
            "help": "Evaluation folder (or evaluation.json) of the model that training started from; a folder 'base' "
            "in or beside the run's if absent."
        },
    )
    push_to_hub: str | None = field(
        default=None,
        metadata={
            "help": "Upload the model, its card and the numbers in it to this repository (owner/name); all else stays."
        },
    )
    private: bool | None = field(
        default=None, metadata={"help": "Make a new repository private; the account's default if absent."}
    )
    revision: str | None = field(default=None, metadata={"help": "Branch to upload to; the main one if absent."})


def run(argv: Sequence[str]) -> None:
    """Run the command."""
    description = "Write the model card of a trained model."
    (parsed,) = parse("card", (CardArguments,), argv, description, EXAMPLE, first="run_dir").parts
    quiet_libraries()
    card(parsed)


def card(arguments: CardArguments) -> None:
    """Write the card and, where asked for, upload the folder.

    Raises:
        ConfigError: no folder was named.
        DataError: the folder is no run's, or a file in it is malformed.
        OutputError: the card cannot be written, or the Hub refuses.
    """
    from attnpo.errors import ConfigError
    from attnpo.reporting.card import write_model_card
    from attnpo.reporting.card.upload import upload_run
    from attnpo.training.record import TrainingRecord

    if not arguments.run_dir:
        raise ConfigError("card: name the output_dir of `attnpo train`, such as `attnpo card runs/mine`")
    folder = Path(arguments.run_dir)
    if arguments.push_to_hub:
        record = TrainingRecord.load(folder)
        repository = arguments.push_to_hub
        named = record.model_copy(update={"hub_model_id": repository, "name": repository.rpartition("/")[2]})
        named.save(folder)
    console.print(f"written to {write_model_card(folder, arguments.base)}")
    if arguments.push_to_hub:
        address = upload_run(folder, arguments.push_to_hub, private=arguments.private, revision=arguments.revision)
        console.print(f"uploaded: {address}")
