"""How a think part is cut into steps: by trigger phrases (the paper's way) or by paragraphs."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

from attnpo.errors import ConfigError, nearest
from attnpo.rollouts import StepFamily
from attnpo.segmentation.merging import Segment, merge_short
from attnpo.segmentation.phrases import DEFAULT_PHRASES, Cut, PhraseFamilies

DEFAULT_MIN_CHARS = 80
_BLANK_LINES = re.compile(r"\n(?:[^\S\n]*\n)+")


class Strategy(Protocol):
    """Cuts the text of a think part into steps."""

    def split(self, think_text: str) -> list[tuple[int, int, StepFamily]]:
        """Return (start, end, family) of each step, in characters of `think_text`.

        The spans are in order, not empty, and tile the text exactly; an empty text has no steps.
        """
        ...


@dataclass(frozen=True)
class PhraseStrategy:
    """Steps begin at trigger phrases; short segments are merged (AttnPO, step segmentation).

    Attributes:
        phrases: the trigger phrases.
        min_chars: segments of fewer characters are merged, see `merge_short`.
    """

    phrases: PhraseFamilies = field(default_factory=lambda: PhraseFamilies.load(DEFAULT_PHRASES))
    min_chars: int = DEFAULT_MIN_CHARS

    def split(self, think_text: str) -> list[tuple[int, int, StepFamily]]:
        """Return (start, end, family) of each step, tiling `think_text`."""
        return list(merge_short(_tile(think_text, self.phrases.cuts(think_text)), self.min_chars))


@dataclass(frozen=True)
class ParagraphStrategy:
    """Every paragraph is a step; blank lines part paragraphs and belong to the step before them.

    Attributes:
        min_chars: paragraphs of fewer characters are merged, see `merge_short`.
        phrases: phrases that name the family of a paragraph that begins with one.
    """

    min_chars: int = 0
    phrases: PhraseFamilies = field(default_factory=lambda: PhraseFamilies.load(DEFAULT_PHRASES))

    def split(self, think_text: str) -> list[tuple[int, int, StepFamily]]:
        """Return (start, end, family) of each step, tiling `think_text`."""
        content_start = len(think_text) - len(think_text.lstrip())
        content_end = len(think_text.rstrip())
        gaps = [gap.end() for gap in _BLANK_LINES.finditer(think_text)]
        starts = [0, *(end for end in gaps if content_start < end < content_end)]
        ends = [*starts[1:], len(think_text)]
        segments = [
            Segment(start, end, self.phrases.opening_family(think_text[start:end]))
            for start, end in zip(starts, ends, strict=True)
            if start < end
        ]
        return list(merge_short(segments, self.min_chars))


def build_strategy(name: str, phrases_file: str | None = None, min_chars: int | None = None) -> Strategy:
    """Build a strategy from settings.

    Args:
        name: `phrases` or `paragraphs`.
        phrases_file: YAML file with phrase families; None takes the packaged list.
        min_chars: segments of fewer characters are merged; None takes 80 for phrases, 0 for paragraphs.

    Raises:
        ConfigError: unknown name, negative `min_chars`, or a phrases file that cannot be used.
    """
    builders: dict[str, Callable[[PhraseFamilies], Strategy]] = {
        "phrases": lambda phrases: PhraseStrategy(phrases, DEFAULT_MIN_CHARS if min_chars is None else min_chars),
        "paragraphs": lambda phrases: ParagraphStrategy(min_chars or 0, phrases),
    }
    if name not in builders:
        said = f"choose {' or '.join(builders)}{nearest(name, builders)}"
        raise ConfigError(f"segmentation: unknown strategy {name!r}; {said}")
    if min_chars is not None and min_chars < 0:
        raise ConfigError(f"segmentation: min_chars is {min_chars}; set 0 or more")
    return builders[name](PhraseFamilies.load(phrases_file or DEFAULT_PHRASES))


def _tile(text: str, cuts: list[Cut]) -> list[Segment]:
    """Turn cuts into segments that tile `text`; white space alone before the first cut joins the first segment."""
    if not text:
        return []
    if not cuts or text[: cuts[0].start].strip():
        cuts = [Cut(0, "plain"), *cuts]
    starts = [0, *(cut.start for cut in cuts[1:])]
    ends = [*starts[1:], len(text)]
    return [Segment(start, end, cut.family) for start, end, cut in zip(starts, ends, cuts, strict=True)]
