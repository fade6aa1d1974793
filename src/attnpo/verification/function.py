"""Answers that a user's own function judges."""

from __future__ import annotations

from collections.abc import Sequence

from attnpo.errors import ConfigError
from attnpo.loading import load_function
from attnpo.think import final_answer
from attnpo.verification.base import Closing
from attnpo.verification.exact import ExactVerifier
from attnpo.verification.pool import WorkerPool


class FunctionVerifier(Closing):
    """Correct is what a user's function `(response, solution) -> bool` says.

    It gets the whole response, runs in worker processes with the same hard limit, and is not asked about responses that
    never closed their think part: those are incorrect.
    """

    def __init__(self, spec: str, timeout: float = 5.0, workers: int = 1):
        """Check that the function can be imported.

        Args:
            spec: `module:function`.
            timeout: seconds for one response.
            workers: number of worker processes.

        Raises:
            ConfigError: the function cannot be imported or takes other arguments, or `timeout` or `workers` is not
                positive.
        """
        if spec.startswith("__main__:"):
            raise ConfigError(f"verifier: {spec!r} is not importable by a worker; put the function into a module")
        load_function(spec, "verifier", ("response", "solution"))
        self.pool = WorkerPool(spec, timeout, workers)

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
        """Return the text of each answer, as `ExactVerifier` does: what else the function takes as equal is unknown."""
        return ExactVerifier().answers(responses)

    def close(self) -> None:
        """Kill the worker processes; a later `verify` starts them again."""
        self.pool.close()
