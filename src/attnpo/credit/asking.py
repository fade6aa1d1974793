"""What a response is asked for, where a method changes the prompt."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from attnpo.errors import DataError
from attnpo.rollouts import Prompt


@dataclass(frozen=True)
class Ask:
    """What one response is sampled from.

    Attributes:
        prompt: what stands in place of the data set's prompt.
        opening: text behind the generation prompt; part of the prompt, so nothing trains it.
        facts: by name what the method wants to know of the response's prompt later; the same names for all.
    """

    prompt: Prompt
    opening: str = ""
    facts: Mapping[str, float] = field(default_factory=dict)


def extend_question(prompt: Prompt, suffix: str) -> Prompt:
    """Return the prompt with a suffix after its last message.

    Args:
        prompt: chat messages, the user's last.
        suffix: text, its leading blank included.

    Raises:
        DataError: the prompt is plain text or does not end in a user's message: the end of its question is unknown.
    """
    if isinstance(prompt, str) or not prompt or prompt[-1]["role"] != "user":
        raise DataError(
            "prompt: the requested length belongs at the end of the question, so prompts must be chat messages that "
            "end with the user's; give messages instead of text"
        )
    *before, question = prompt
    return [*before, {**question, "content": question["content"] + suffix}]
