"""Answers that must be the same text."""

from __future__ import annotations

from collections.abc import Sequence

from attnpo.think import final_answer
from attnpo.verification.answer import boxed_answer
from attnpo.verification.base import Closing


class ExactVerifier(Closing):
    r"""Correct means the same text: white space normalized, the content of the last `\boxed{…}` where there is one."""

    def verify(self, responses: Sequence[str], solutions: Sequence[str]) -> list[bool]:
        """Return for each response whether its final answer is the solution's text."""
        pairs = zip(map(final_answer, responses), solutions, strict=True)
        return [answer is not None and answer_text(answer) == answer_text(solution) for answer, solution in pairs]

    def answers(self, responses: Sequence[str]) -> list[str | None]:
        """Return the text that is compared, None where it is empty."""
        return [None if answer is None else answer_text(answer) or None for answer in map(final_answer, responses)]


def answer_text(text: str) -> str:
    r"""Return the content of the last `\boxed{…}`, or else the whole text, with white space normalized."""
    boxed = boxed_answer(text)
    return " ".join((text if boxed is None else boxed).split())
