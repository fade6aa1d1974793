"""Which checkpoint a run goes on from."""

from __future__ import annotations

from pathlib import Path

from transformers.trainer_utils import get_last_checkpoint

from attnpo.errors import ConfigError
from attnpo.training.config import AttnPOConfig


def last_checkpoint(args: AttnPOConfig) -> str | None:
    """Return the checkpoint named by `args.resume_from_checkpoint`: a path, or true for the newest in `output_dir`.

    Without a checkpoint yet, `true` starts from the beginning.

    Raises:
        ConfigError: the named checkpoint does not exist.
    """
    asked = args.resume_from_checkpoint
    if not asked or str(asked).lower() == "false":
        return None
    if str(asked).lower() == "true":
        return get_last_checkpoint(args.output_dir) if Path(args.output_dir).is_dir() else None
    if not Path(asked).is_dir():
        raise ConfigError(f"resume_from_checkpoint: {asked} is no folder; name a checkpoint-N folder, or true")
    return str(asked)
