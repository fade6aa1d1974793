"""Which checkpoint a run goes on from."""

from __future__ import annotations

from pathlib import Path

from transformers import TrainingArguments

from attnpo.errors import ConfigError, OutputError
from attnpo.training.record import FILE as RECORD
from attnpo.training.saving import STATE, checkpoints, is_whole, newest_whole


def check_no_run_before(args: TrainingArguments) -> None:
    """Check that a run has its folder for itself, or goes on with the run that is there.

    Else a later resumption would take the higher checkpoint, be it this run's or not, an adapter of before would hide a
    whole model, and the card would show the results of the model before.

    Raises:
        OutputError: the folder holds a run that this one does not go on with.
        ConfigError: the checkpoint that it is to go on from does not exist, or is half written.
    """
    folder = Path(str(args.output_dir))
    made = [*checkpoints(folder), *filter(Path.is_file, (folder / STATE, folder / RECORD))]
    if not made:
        return
    checkpoint = last_checkpoint(args)
    if checkpoint is None and _is_asked(args.resume_from_checkpoint) and not (folder / STATE).is_file():
        return  # it was ended before its first checkpoint
    if checkpoint is not None and Path(checkpoint).resolve().parent == folder.resolve():
        return
    whole = newest_whole(folder)
    way = "" if whole is None else f"--resume_from_checkpoint true goes on from {whole}; "
    raise OutputError(
        f"output_dir: {folder} holds a run before ({made[-1].name}); {way}to begin anew choose another folder or "
        "remove this one"
    )


def _is_asked(resume_from_checkpoint: str | bool | None) -> bool:
    return bool(resume_from_checkpoint) and str(resume_from_checkpoint).lower() != "false"


def last_checkpoint(args: TrainingArguments) -> str | None:
    """Return the checkpoint named by `args.resume_from_checkpoint`: a path, or true for the newest in `output_dir`
    that was written to its end.

    Without a checkpoint yet, `true` starts from the beginning.

    Raises:
        ConfigError: the named checkpoint does not exist, or is half written.
    """
    asked = args.resume_from_checkpoint
    if asked is None or not _is_asked(asked):
        return None
    if str(asked).lower() == "true":
        return newest_whole(args.output_dir)
    if not Path(asked).is_dir():
        raise ConfigError(f"resume_from_checkpoint: {asked} is no folder; name a checkpoint-N folder, or true")
    if not is_whole(Path(asked)):
        raise ConfigError(
            f"resume_from_checkpoint: {asked} was not written to its end; name another one, or true for the "
            "newest whole one"
        )
    return str(asked)
