"""The ways to decide whether a response is correct."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol

from attnpo.errors import ConfigError
from attnpo.loading import load_function
from attnpo.verification.answer import boxed_answer, final_answer, reference_answer
from attnpo.verification.pool import WorkerPool

if TYPE_CHECKING:
    from typing_extensions import Self

_MATH_JUDGE = "attnpo.verification.math_judge:same_answer"
_MATH_MEMORY_BYTES = 4 * 2**30
_PLAIN_INTEGER = re.compile(r"-?(?:0|[1-9][0-9]{0,11})", re.ASCII)


class Verifier(Protocol):
    """Decides which responses are correct."""

    def verify(self, responses: Sequence[str], solutions: Sequence[str]) -> list[bool]:
        """Return for each response whether it is correct.

        Args:
            responses: whole texts of the responses; only the final answer after the last `</think>` counts, and a
                response that never closed its think part is incorrect.
            solutions: the reference of each response.
        """
        ...

    def close(self) -> None:
        """Give back what the verifier holds (worker processes); it may be used again afterwards."""
        ...

    def __enter__(self) -> Self:
        """Return the verifier."""
        ...

    def __exit__(self, *exception: object) -> None:
        """Close the verifier."""
        ...


class _Closing:
    def close(self) -> None:
        """Give back what the verifier holds; it may be used again afterwards."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()


class ExactVerifier(_Closing):
    r"""Correct means the same text: white space normalized, the content of the last `\boxed{…}` where there is one."""

    def verify(self, responses: Sequence[str], solutions: Sequence[str]) -> list[bool]:
        """Return for each response whether its final answer is the solution's text."""
        return [self._is_correct(*pair) for pair in zip(responses, solutions, strict=True)]

    def _is_correct(self, response: str, solution: str) -> bool:
        answer = final_answer(response)
        return answer is not None and self._normalize(answer) == self._normalize(solution)

    @staticmethod
    def _normalize(text: str) -> str:
        boxed = boxed_answer(text)
        return " ".join((text if boxed is None else boxed).split())


class MathVerifier(_Closing):
    r"""Correct means mathematically equal, as math-verify decides.

    Of the final answer only the last `\boxed{…}` counts where there is one, else math-verify looks for an answer in
    the text. Of the solution the last box counts, or what follows the last `####`, or all of it. Expressions are
    compared in worker processes that are killed at the limit (and cannot take more than 4 GiB), which counts as
    incorrect. Boxed plain integers of up to 12 digits are compared at once: math-verify decides them the same way.
    """

    def __init__(self, timeout: float = 5.0, workers: int = 1):
        """Set limits; processes start with the first answer that needs one.

        Args:
            timeout: seconds for one answer.
            workers: number of worker processes.

        Raises:
            ConfigError: `timeout` or `workers` is not positive.
        """
        self.pool = WorkerPool(_MATH_JUDGE, timeout, workers, _MATH_MEMORY_BYTES)

    def verify(self, responses: Sequence[str], solutions: Sequence[str]) -> list[bool]:
        """Return for each response whether its final answer equals the solution."""
        pairs = [_math_pair(*pair) for pair in zip(responses, solutions, strict=True)]
        known: dict[tuple[str, str] | None, bool] = {None: False}
        known |= {pair: verdict for pair in pairs if pair and (verdict := _compare_integers(*pair)) is not None}
        # Responses of a group often agree: each different pair is compared once.
        unknown = [pair for pair in dict.fromkeys(pairs) if pair is not None and pair not in known]
        known |= dict(zip(unknown, self.pool.judge(unknown), strict=True))
        return [known[pair] for pair in pairs]

    def close(self) -> None:
        """Kill the worker processes; a later `verify` starts them again."""
        self.pool.close()


class FunctionVerifier(_Closing):
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
            ConfigError: the function cannot be imported, or `timeout` or `workers` is not positive.
        """
        if spec.startswith("__main__:"):
            raise ConfigError(f"verifier: {spec!r} is not importable by a worker; put the function into a module")
        load_function(spec, "verifier")
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

    def close(self) -> None:
        """Kill the worker processes; a later `verify` starts them again."""
        self.pool.close()


def build_verifier(name: str, timeout: float = 5.0, workers: int = 1) -> Verifier:
    """Build a verifier from settings.

    Args:
        name: `math`, `exact`, or `module:function` of a function `(response, solution) -> bool`.
        timeout: seconds after which an answer is interrupted and counted wrong (not used by `exact`).
        workers: number of worker processes (not used by `exact`).

    Raises:
        ConfigError: unknown name, a function that cannot be imported, or a limit that is not positive.
    """
    if name == "math":
        return MathVerifier(timeout, workers)
    if name == "exact":
        return ExactVerifier()
    if ":" in name:
        return FunctionVerifier(name, timeout, workers)
    raise ConfigError(f"verifier: unknown {name!r}; choose math, exact or module:function")


def _math_pair(response: str, solution: str) -> tuple[str, str] | None:
    """Return what is compared, None where the response has no final answer."""
    answer = final_answer(response)
    if answer is None:
        return None
    boxed = boxed_answer(answer)
    return _boxed(boxed) if boxed is not None else answer, _boxed(reference_answer(solution))


def _boxed(content: str) -> str:
    return rf"\boxed{{{content}}}"


def _compare_integers(answer: str, reference: str) -> bool | None:
    """Compare two boxed plain integers, None where either is anything else."""
    contents = [boxed_answer(text) for text in (answer, reference)]
    if all(content is not None and _PLAIN_INTEGER.fullmatch(content) for content in contents):
        return answer == reference or {"0", "-0"} == set(contents)
    return None
