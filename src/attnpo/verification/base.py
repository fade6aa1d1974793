"""What every verifier offers."""

from __future__ import annotations

import queue
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Protocol, TypeVar

if TYPE_CHECKING:
    from typing import Self

Item = TypeVar("Item")
Worker = TypeVar("Worker")
Answer = TypeVar("Answer")


class Verifier(Protocol):
    """Decides which responses are correct, and which of them give the same answer."""

    def verify(self, responses: Sequence[str], solutions: Sequence[str]) -> list[bool]:
        """Return for each response whether it is correct.

        Args:
            responses: whole texts, with the `<think>` that the prompt opened (`attnpo.think.full_text`); only the final
                answer counts (`attnpo.think.final_answer`), and one that never closed its think part is incorrect.
            solutions: the reference of each response.
        """
        ...

    def answers(self, responses: Sequence[str]) -> list[str | None]:
        """Return the answer each response gives, in a normal form that equal answers share as far as is cheap.

        Args:
            responses: whole texts of the responses, as `verify` takes them.

        Returns:
            What a majority vote counts; None where a response gives no answer or where the kind of answer has no vote.
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


class Closing:
    """The part that all verifiers share: they end with a `with` block, and some have nothing to close."""

    def close(self) -> None:
        """Give back what the verifier holds; it may be used again afterwards."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()


def share_out(items: Sequence[Item], workers: Sequence[Worker], ask: Callable[[Worker, Item], Answer]) -> list[Answer]:
    """Return the answer to each item; a worker has one item at a time, and whoever is idle gets the next one."""
    if len(workers) == 1 or len(items) < 2:
        return [ask(workers[0], item) for item in items]
    idle: queue.SimpleQueue[Worker] = queue.SimpleQueue()
    for worker in workers:
        idle.put(worker)

    def answer(item: Item) -> Answer:
        worker = idle.get()
        try:
            return ask(worker, item)
        finally:
            idle.put(worker)

    with ThreadPoolExecutor(len(workers)) as threads:
        return list(threads.map(answer, items))
