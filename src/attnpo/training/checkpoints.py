"""Which checkpoint a run goes on from."""

from __future__ import annotations

from pathlib import Path

from transformers import TrainingArguments

from attnpo.errors import ConfigError
from attnpo.training.saving import is_whole, newest_whole


def is_asked(resume_from_checkpoint: str | bool | None) -> bool:
    """Whether a run is to go on from a checkpoint."""
    return bool(resume_from_checkpoint) and str(resume_from_checkpoint).lower() != "false"


def last_checkpoint(args: TrainingArguments) -> str | None:
    """Return the checkpoint named by `args.resume_from_checkpoint`: a path, or true for the newest in `output_dir`
    that was written to its end.

    Without a checkpoint yet, `true` starts from the beginning.

    Raises:
        ConfigError: the named checkpoint does not exist, or is half written.
    """
    asked = args.resume_from_checkpoint
    if asked is None or not is_asked(asked):
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
