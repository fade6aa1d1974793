"""Answers that a user's own function judges."""

from __future__ import annotations

import importlib
from collections.abc import Sequence

from attnpo.errors import ConfigError
from attnpo.loading import load_function
from attnpo.think import final_answer
from attnpo.verification.base import Closing
from attnpo.verification.exact import ExactVerifier
from attnpo.verification.pool import WorkerPool

_STATED = "stated_answer"
"""Name of the function beside a verifier's own that says what a response votes for."""


class FunctionVerifier(Closing):
    """Correct is what a user's function `(response, solution) -> bool` says.

    It gets the whole response, runs in worker processes with the same hard limit, and is not asked about responses that
    never closed their think part: those are incorrect. Where its module holds a function `stated_answer`, `(response)
    -> str | None`, that one says which answer a response gives.
    """

    def __init__(self, spec: str, timeout: float = 5.0, workers: int = 1):
        """Check that the function can be imported.

        Args:
            spec: `module:function`.
            timeout: seconds for one response.
            workers: number of worker processes.

        Raises:
            ConfigError: the function cannot be imported or takes other arguments, `stated_answer` beside it does, or
                `timeout` or `workers` is not positive.
        """
        if spec.startswith("__main__:"):
            raise ConfigError(f"verifier: {spec!r} is not importable by a worker; put the function into a module")
        load_function(spec, "verifier", ("response", "solution"))
        self._says_answers, stated = False, f"{spec.partition(':')[0]}:{_STATED}"
        if stated != spec and hasattr(importlib.import_module(spec.partition(":")[0]), _STATED):
            load_function(stated, "verifier", ("response",))
            self._says_answers = True
        self.pool = WorkerPool(spec, timeout, workers, normal_form=stated if self._says_answers else None)

    def verify(self, responses: Sequence[str], solutions: Sequence[str]) -> list[bool]:
        """Return the function's verdict for each response.

        Raises:
            ConfigError: the function raises or returns no bool.
        """
        pairs = list(zip(responses, solutions, strict=True))
        asked = [number for number, (response, _) in enumerate(pairs) if final_answer(response) is not None]
        verdicts = [False] * len(pairs)
        for number, verdict in zip(asked, self.pool.judge([pairs[number] for number in asked]), strict=True):
            verdicts[number] = verdict
        return verdicts

    def answers(self, responses: Sequence[str]) -> list[str | None]:
        """Return what `stated_answer` says, white space normalized, or else the text of each answer.

        The text is that of `ExactVerifier`: what else the function takes as equal is unknown.

        Raises:
            ConfigError: `stated_answer` raises, or returns neither text nor None.
        """
        if not self._says_answers:
            return ExactVerifier().answers(responses)
        asked = [response for response in dict.fromkeys(responses) if final_answer(response) is not None]
        found = dict(zip(asked, self.pool.normal_forms(asked), strict=True))
        return [" ".join((found.get(response) or "").split()) or None for response in responses]

    def close(self) -> None:
        """Kill the worker processes; a later `verify` starts them again."""
        self.pool.close()
