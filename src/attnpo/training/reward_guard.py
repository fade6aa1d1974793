"""Reward functions of the user that fail on a response: asked again one by one, the failing response left out."""

from __future__ import annotations

import functools
import inspect
import math
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any

from attnpo.errors import TrainingError

ENOUGH = 100
"""Answers before the share of failures is judged; until then only a batch that fails as a whole ends the run."""


@dataclass(frozen=True)
class RewardFailure:
    """A response that a reward function failed on.

    Attributes:
        index: row of the batch on this process.
        function: name of the function.
        error: type and text of the error.
    """

    index: int
    function: str
    error: str


class RewardGuard:
    """Wraps reward functions in TRL's form.

    A function that raises is asked again with each response alone; where it raises again, or returns no finite number,
    the response gets no reward of it (None, which counts as 0 in the sum).

    Args:
        most: share of a function's answers that may fail before the run ends.
        on_batch: gets the number of answers asked for and what failed, once a batch and function.
    """

    def __init__(self, most: float, on_batch: Callable[[int, Sequence[RewardFailure]], None]) -> None:
        self.most = most
        self.on_batch = on_batch
        self._asked: dict[str, int] = {}
        self._failed: dict[str, int] = {}

    def wrap(self, function: Any) -> Any:
        """Return the function guarded; a reward model stays as it is."""
        if isinstance(function, str) or hasattr(function, "parameters") or not callable(function):
            return function
        name = getattr(function, "__name__", type(function).__name__)
        if inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(getattr(function, "__call__", None)):  # noqa: B004

            async def guarded_async(**columns: Any) -> list[float | None]:
                return await self._ask_async(name, function, columns)

            return functools.update_wrapper(guarded_async, function)

        def guarded(**columns: Any) -> list[float | None]:
            return self._ask(name, function, columns)

        return functools.update_wrapper(guarded, function)

    def _ask(self, name: str, function: Callable[..., Sequence[Any]], columns: dict[str, Any]) -> list[float | None]:
        try:
            values: list[Any] = list(function(**columns))
        except Exception:  # a user's function can raise anything; which response it was shows below
            values = []
            for row in _rows(columns):
                try:
                    values.append(_only(function(**row)))
                except Exception as error:
                    values.append(error)
        return self._judged(name, values)

    async def _ask_async(
        self, name: str, function: Callable[..., Awaitable[Sequence[Any]]], columns: dict[str, Any]
    ) -> list[float | None]:
        try:
            values: list[Any] = list(await function(**columns))
        except Exception:  # as above
            values = []
            for row in _rows(columns):
                try:
                    values.append(_only(await function(**row)))
                except Exception as error:
                    values.append(error)
        return self._judged(name, values)

    def _judged(self, name: str, values: Sequence[Any]) -> list[float | None]:
        failures = [
            RewardFailure(index, name, said)
            for index, value in enumerate(values)
            if (said := _complaint(value)) is not None
        ]
        asked = self._asked[name] = self._asked.get(name, 0) + len(values)
        failed = self._failed[name] = self._failed.get(name, 0) + len(failures)
        self.on_batch(len(values), failures)
        broken = 1 < len(values) == len(failures)
        if failures and (broken or (asked >= ENOUGH and failed > self.most * asked)):
            raise TrainingError(
                f"reward function {name}: failed on {failed} of {asked} responses (last: {failures[-1].error}); mend "
                "it, or allow more with max_reward_failures"
            )
        left_out = {failure.index for failure in failures}
        return [None if index in left_out or value is None else float(value) for index, value in enumerate(values)]


def _complaint(value: Any) -> str | None:
    """Return what is wrong with an answer; None for a number, and for None and NaN, TRL's words for no reward."""
    if isinstance(value, Exception):
        return f"{type(value).__name__}: {' '.join(str(value).split())}"
    if value is None:
        return None
    try:
        number = float(value)
    except (TypeError, ValueError):
        return f"returned {value!r}, no number"
    return f"returned {number}" if math.isinf(number) else None


def _only(values: Sequence[Any]) -> Any:
    (value,) = values  # a function that returns another number of rewards fails on the response
    return value


def _rows(columns: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the arguments for each response alone."""
    size = len(columns["completions"])
    return [
        {
            name: [value[i]] if isinstance(value, list) and len(value) == size else value
            for name, value in columns.items()
        }
        for i in range(size)
    ]
