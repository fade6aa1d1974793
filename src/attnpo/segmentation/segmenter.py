"""From sampled token ids to steps and final answer as spans of those very ids."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from typing import Any

from attnpo.rollouts import Rollout, SegmentedResponse, Span, Step
from attnpo.segmentation.offsets import OffsetDecoder
from attnpo.segmentation.strategy import Strategy
from attnpo.segmentation.text import segment_text
from attnpo.think import ThinkOpening, has_think_part


class Segmenter:
    """Cuts responses given as sampled token ids into steps and final answer.

    A token belongs to the part (step, tag, final answer) that holds its **first character**: one that straddles a
    border counts for the part it begins in, so every token has one owner and a part's tokens are contiguous. A token
    that only continues a multi-byte character lies where that character lies; a special token in the middle lies where
    the text goes on after it. `<think>`, `</think>`, what comes before `<think>` and special end tokens belong to no
    step.

    Attributes:
        opens_think: says of a prompt's ids whether it leaves a think part open.
    """

    def __init__(self, tokenizer: Any, strategy: Strategy):
        """Prepare the tokenizer's decoder.

        Args:
            tokenizer: Hugging Face tokenizer the ids were sampled with.
            strategy: cuts the think part into steps.
        """
        self.strategy = strategy
        self.opens_think = ThinkOpening(tokenizer)
        self._decode = OffsetDecoder(tokenizer)

    def __call__(self, response_ids: Sequence[int], in_think: bool = True) -> SegmentedResponse:
        """Segment one response.

        Args:
            response_ids: the sampled ids, end token included, padding included or not.
            in_think: whether the prompt left a think part open (`opens_think`).
        """
        text, offsets = self._decode(response_ids)
        parts = segment_text(text, self.strategy, in_think)
        starts = [start for start, _ in offsets]
        end = self._last_visible(response_ids)
        steps = tuple(Step(chars=span, tokens=_token_span(starts, span), family=family) for span, family in parts.steps)
        answered = parts.closed or not has_think_part(text, in_think)
        answer = (bisect_left(starts, parts.answer[0]), end) if answered else (end, end)
        return SegmentedResponse(
            text=text,
            n_tokens=len(response_ids),
            steps=steps,
            think_chars=parts.think,
            answer_chars=parts.answer,
            answer_tokens=(min(answer), end),
            closed=parts.closed,
            in_think=in_think,
        )

    def _last_visible(self, response_ids: Sequence[int]) -> int:
        """Return the number of tokens before the special tokens (end, padding) that the response ends with."""
        end = len(response_ids)
        while end > 0 and int(response_ids[end - 1]) in self._decode.skipped_ids:
            end -= 1
        return end


def step_index(segmented: SegmentedResponse | Rollout, length: int) -> list[int]:
    """Return each token's step, -1 where it has none.

    Args:
        segmented: the response.
        length: number of entries wanted; more than the response has tokens for padding, fewer to cut it.
    """
    index = [-1] * length
    for number, step in enumerate(segmented.steps):
        start, end = step.tokens[0], min(step.tokens[1], length)
        index[start:end] = [number] * (end - start)
    return index


def answer_mask(segmented: SegmentedResponse | Rollout, length: int) -> list[bool]:
    """Return for each token whether it belongs to the final answer F.

    Args:
        segmented: the response.
        length: number of entries wanted; more than the response has tokens for padding, fewer to cut it.
    """
    start, end = segmented.answer_tokens
    return [start <= position < end for position in range(length)]


def _token_span(starts: list[int], chars: Span) -> Span:
    """Return the positions of the tokens whose first character lies in `chars`."""
    return bisect_left(starts, chars[0]), bisect_left(starts, chars[1])
