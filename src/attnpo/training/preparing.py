"""What was measured of the untrained policy before the first step, kept so that an interruption loses none of it."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from attnpo.errors import OutputError
from attnpo.output import write_atomically
from attnpo.training.budget import TokenCount

AT_ONCE = 64
"""Problems that are measured, and kept, together."""

logger = logging.getLogger(__name__)


class PreparedFile:
    """`prepared.json`: a method's state as far as it was prepared, and what it depends on.

    Args:
        path: the file, one a process.
        settings: everything the state depends on, as JSON values.
    """

    def __init__(self, path: Path, settings: Mapping[str, Any]) -> None:
        self.path = path
        self.settings = json.loads(json.dumps(settings))

    def load(self) -> tuple[dict[str, Any], TokenCount] | None:
        """Return what was kept and the tokens it took; None where there is nothing, or it is of another run.

        Raises:
            OutputError: the file is malformed.
        """
        if not self.path.is_file():
            return None
        try:
            found = json.loads(self.path.read_text(encoding="utf-8"))
            settings, state, tokens = found["settings"], dict(found["state"]), TokenCount(**found["tokens"])
        except (ValueError, KeyError, TypeError) as error:
            raise OutputError(f"{self.path}: malformed ({error}); remove it, then it is measured again") from error
        if settings != self.settings:
            logger.warning("%s: of another model or other settings; measured again", self.path)
            return None
        return state, tokens

    def save(self, state: Mapping[str, Any], tokens: TokenCount) -> None:
        """Keep a state and the tokens that it took."""
        content = {"settings": self.settings, "state": state, "tokens": vars(tokens)}
        write_atomically(self.path, json.dumps(content, ensure_ascii=False) + "\n")
