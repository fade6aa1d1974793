"""The terminal that commands write to."""

from __future__ import annotations

import logging
import os
import warnings

from rich.console import Console

console = Console(highlight=False)


def quiet_libraries() -> None:
    """Keep progress readable: libraries speak from warning level up, and no progress bars of their own at load."""
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    os.environ.setdefault("TRL_EXPERIMENTAL_SILENCE", "1")
    warnings.filterwarnings("ignore", category=FutureWarning)
    logging.getLogger("transformers").setLevel(logging.ERROR)
    from transformers.utils import logging as transformers_logging

    transformers_logging.disable_progress_bar()
