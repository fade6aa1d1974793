"""Counts the responses that a server will never give, and says so at the end."""

from __future__ import annotations

import logging
from collections.abc import Sequence

from attnpo.errors import listed
from attnpo.sampling import SampledResponse

NAMED = 5
"""Problems named for each reason."""

logger = logging.getLogger(__name__)


class FailureCount:
    """Counts failures (`SampledResponse.failure`) by reason."""

    def __init__(self) -> None:
        self.responses = 0
        self._problems: dict[str, list[str]] = {}

    def add(self, problem_id: str, responses: Sequence[SampledResponse]) -> None:
        """Count the failures among a problem's responses."""
        self.responses += len(responses)
        for response in responses:
            if response.failure is not None:
                self._problems.setdefault(response.failure, []).append(problem_id)

    def say(self) -> None:
        """Name each reason with its problems, in one warning; nothing where there was no failure."""
        if not self._problems:
            return
        total = sum(map(len, self._problems.values()))
        reasons = "; ".join(f"{len(ids)}: {reason} ({_named(ids)})" for reason, ids in self._problems.items())
        logger.warning("%d of %d responses came to nothing and count as wrong: %s", total, self.responses, reasons)


def _named(ids: list[str]) -> str:
    return f"problem {listed(dict.fromkeys(ids), NAMED)}"
