"""What every verifier offers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from typing_extensions import Self


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
