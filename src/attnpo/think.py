"""What of a response is thinking: a fact of the prompt that it answers, and of its own tags."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

from attnpo.markers import THINK_CLOSE, THINK_OPEN, markers_of

__all__ = ["THINK_CLOSE", "THINK_OPEN", "ThinkOpening", "final_answer", "full_text", "has_think_part"]

_REMEMBERED = 4096


class ThinkOpening:
    """Says of a prompt whether it leaves a think part open, so that responses begin inside it.

    What counts is the text behind the prompt's last added token that is no think tag (the mark of the assistant's turn,
    in the chat templates of reasoning models): a `<think>` there that no `</think>` follows. A question or a system
    message that speaks of the tags opens nothing.
    """

    def __init__(self, tokenizer: Any):
        """Look at the tokenizer's added tokens.

        Args:
            tokenizer: the model's.
        """
        self._tokenizer = tokenizer
        added = {int(token_id): token.content for token_id, token in tokenizer.added_tokens_decoder.items()}
        self._markers = markers_of(tokenizer)
        marks = self._markers.opening_tokens(added.values())
        self._borders = frozenset(token_id for token_id, content in added.items() if content not in marks)
        self._opens = lru_cache(maxsize=_REMEMBERED)(self._look)

    def __call__(self, prompt_ids: Sequence[int]) -> bool:
        """Return whether the prompt (generation prompt and opening included) leaves a think part open."""
        return self._opens(tuple(prompt_ids))

    def is_shut(self, prompt_ids: Sequence[int]) -> bool:
        """Return whether the prompt closes the think part itself, so that responses do not think."""
        return not self(prompt_ids) and THINK_CLOSE in self._behind(prompt_ids)

    def _look(self, prompt_ids: tuple[int, ...]) -> bool:
        text = self._behind(prompt_ids)
        return text.rfind(THINK_OPEN) > text.rfind(THINK_CLOSE)

    def _behind(self, prompt_ids: Sequence[int]) -> str:
        last = next((i for i in reversed(range(len(prompt_ids))) if prompt_ids[i] in self._borders), -1)
        text: str = self._tokenizer.decode(list(prompt_ids[last + 1 :]), skip_special_tokens=False)
        return self._markers.read(text)


def full_text(response: str, in_think: bool) -> str:
    """Return a response with the `<think>` that its prompt opened for it: a text that shows by itself what is thinking.

    A response that opens its think part once more (the prompt did it before) is that text already.

    Args:
        response: decoded response.
        in_think: whether its prompt left a think part open.
    """
    opened = THINK_OPEN in response.partition(THINK_CLOSE)[0]
    return f"{THINK_OPEN}{response}" if in_think and not opened else response


def has_think_part(response: str, in_think: bool) -> bool:
    """Return whether any of a response is thinking.

    The prompt opened the think part, or the response did. A response that closes one that nobody opened was thinking
    too: a server's template opened it where it cannot be seen.

    Args:
        response: decoded response.
        in_think: whether its prompt left a think part open.
    """
    return in_think or THINK_OPEN in response or THINK_CLOSE in response


def final_answer(response: str) -> str | None:
    """Return what of a response is its answer, None where it has none: its think part was never closed.

    It is the text after the last `</think>`. (The last one: a model that opens a second think part has not answered
    before it closed that one as well.) A response without a think part is an answer from its first character on.

    Args:
        response: decoded response, with the `<think>` that its prompt opened (`full_text`).
    """
    _, tag, answer = response.rpartition(THINK_CLOSE)
    if tag:
        return answer
    return None if THINK_OPEN in response else response
