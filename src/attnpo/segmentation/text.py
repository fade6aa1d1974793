"""Cutting a response's text into think part, steps and final answer."""

from __future__ import annotations

from dataclasses import dataclass

from attnpo.rollouts import Span, StepFamily
from attnpo.segmentation.strategy import Strategy
from attnpo.think import THINK_CLOSE, THINK_OPEN, has_think_part


@dataclass(frozen=True)
class TextSegmentation:
    """Where think part, steps and final answer lie in a text; all spans in characters.

    Attributes:
        think: the think part without its tags; empty at the text's beginning where there is none.
        steps: (span, family) of each step; the spans tile `think` exactly.
        answer: the final answer, empty at the text's end where the think part was never closed, the whole text where
            there is no think part.
        closed: whether `</think>` was found.
    """

    think: Span
    steps: tuple[tuple[Span, StepFamily], ...]
    answer: Span
    closed: bool


def segment_text(text: str, strategy: Strategy, in_think: bool = True) -> TextSegmentation:
    """Cut a response into think part, steps and final answer.

    - The think part ends at the **first** `</think>`: what follows is what the model presents, however many further
      tags it writes, and a step never holds a closing tag. Sampling more tokens then never moves a border once found.
      (Verification reads the text after the *last* tag, so that a second round of thinking is not taken for the
      answer.)
    - It begins after the first `<think>` before that end, else at the start of the text. Text before the tag belongs
      to no step.
    - Where neither the prompt nor the response opens or closes one there is no think part: the whole text is the final
      answer, and there are no steps.
    - Without `</think>` (a truncated response) the think part runs to the end and the final answer is empty.
    - An empty think part has no steps.

    Args:
        text: decoded response.
        strategy: cuts the think part into steps.
        in_think: whether the prompt left a think part open (`attnpo.think.ThinkOpening`), as DeepSeek-R1's template
            does.
    """
    if not has_think_part(text, in_think):
        return TextSegmentation((0, 0), (), (0, len(text)), closed=False)
    close = text.find(THINK_CLOSE)
    closed = close >= 0
    think_end = close if closed else len(text)
    opening = text.find(THINK_OPEN, 0, think_end)
    think_start = opening + len(THINK_OPEN) if opening >= 0 else 0
    steps = tuple(
        ((think_start + start, think_start + end), family)
        for start, end, family in strategy.split(text[think_start:think_end])
    )
    answer_start = think_end + len(THINK_CLOSE) if closed else len(text)
    return TextSegmentation((think_start, think_end), steps, (answer_start, len(text)), closed)
