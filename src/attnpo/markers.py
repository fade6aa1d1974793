"""How a model family writes its thinking down; everywhere else it is `<think>`, `</think>` and the answer.

Text that a model wrote is translated where ids become text (`segmentation.offsets`, `think.ThinkOpening`), and back
where text becomes ids (openings, what a method forces a response to go on with).
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final

from attnpo.errors import ConfigError, nearest

THINK_OPEN: Final = "<think>"
THINK_CLOSE: Final = "</think>"
ATTRIBUTE: Final = "attnpo_markers"
"""Attribute of a tokenizer that holds the markers given for it."""

Span = tuple[int, int]


@dataclass(frozen=True)
class Markers:
    """What a model writes for `<think>` and `</think>`, and around its answer.

    Attributes:
        opens: what opens the think part.
        closes: what closes it.
        drops: what stands around the answer and belongs to none of it.
    """

    opens: str = THINK_OPEN
    closes: str = THINK_CLOSE
    drops: tuple[str, ...] = ()

    @property
    def is_plain(self) -> bool:
        """Whether nothing has to be translated."""
        return (self.opens, self.closes, self.drops) == (THINK_OPEN, THINK_CLOSE, ())

    @property
    def texts(self) -> tuple[str, ...]:
        """All markers, those of `attnpo` too."""
        return (THINK_OPEN, THINK_CLOSE, self.opens, self.closes, *self.drops)

    def tokens(self, contents: Iterable[str]) -> set[str]:
        """Return those of a tokenizer's added tokens that the markers are made of."""
        if self.is_plain:
            return {THINK_OPEN, THINK_CLOSE} & set(contents)
        return {content for content in contents if content and any(content in text for text in self.texts)}

    def opening_tokens(self, contents: Iterable[str]) -> set[str]:
        """Return those of `tokens` that begin no turn, as `<|start|>` within gpt-oss's closing marker does."""
        whole = {THINK_OPEN, THINK_CLOSE, self.opens, self.closes}
        return {content for content in self.tokens(contents) if content in whole or content in self.opens}

    @cached_property
    def _known(self) -> tuple[re.Pattern[str], Mapping[str, str]]:
        meanings = {self.opens: THINK_OPEN, self.closes: THINK_CLOSE, **dict.fromkeys(self.drops, "")}
        longest_first = sorted(meanings, key=len, reverse=True)
        return re.compile("|".join(map(re.escape, longest_first))), meanings

    def read(self, text: str) -> str:
        """Return a model's text with `<think>` and `</think>` for its own markers."""
        if self.is_plain:
            return text
        pattern, meanings = self._known
        return pattern.sub(lambda match: meanings[match[0]], text)

    def read_spans(self, text: str, spans: Sequence[Span]) -> tuple[str, list[Span]]:
        """Translate a text with the characters of each of its tokens.

        Args:
            text: what the model wrote.
            spans: half-open, one a token, starts never decreasing.

        Returns:
            As `read`; spans of the translated text: those of a marker's tokens share what stands for it.
        """
        if self.is_plain:
            return text, list(spans)
        pattern, meanings = self._known
        found = [(match.start(), match.end(), meanings[match[0]]) for match in pattern.finditer(text)]
        places = list(range(len(text) + 1))
        moved = 0
        for number, (start, end, meaning) in enumerate(found):
            for at in range(start, end):
                places[at] = start + moved + (at - start) * len(meaning) // (end - start)
            moved += len(meaning) - (end - start)
            until = found[number + 1][0] if number + 1 < len(found) else len(text) + 1
            for at in range(end, until):
                places[at] = at + moved
        return self.read(text), [(places[start], places[end]) for start, end in spans]

    def write(self, text: str) -> str:
        """Return a text of `attnpo`'s with the model's markers for `<think>` and `</think>`."""
        return text.replace(THINK_OPEN, self.opens).replace(THINK_CLOSE, self.closes)


FAMILIES: Final[Mapping[str, Markers]] = {
    "think": Markers(),
    "thought": Markers("<|begin_of_thought|>", "<|end_of_thought|>", ("<|begin_of_solution|>", "<|end_of_solution|>")),
    "magistral": Markers("[THINK]", "[/THINK]"),
    "seed": Markers("<seed:think>", "</seed:think>"),
    "kimi": Markers("◁think▷", "◁/think▷"),
    "thinking": Markers("<thinking>", "</thinking>"),
    "reasoning": Markers("<reasoning>", "</reasoning>"),
    "harmony": Markers("<|channel|>analysis<|message|>", "<|end|><|start|>assistant<|channel|>final<|message|>"),
}
"""Family → markers: DeepSeek-R1, Qwen3 and most others; OpenThinker, Sky-T1; Magistral; Seed-OSS; Kimi; …; gpt-oss."""


def markers_of(tokenizer: Any) -> Markers:
    """Return the markers of a tokenizer's model: those given for it, else its family's.

    A family is recognised by its opening marker, whose tokens are all in the vocabulary or which stands in the chat
    template; `<think>` goes before others in the template, and where nothing is recognised.
    """
    given = getattr(tokenizer, ATTRIBUTE, None)
    if isinstance(given, Markers):
        return given
    template = str(getattr(tokenizer, "chat_template", None) or "")
    added = {token.content for token in getattr(tokenizer, "added_tokens_decoder", {}).values()}
    others = [markers for markers in FAMILIES.values() if not markers.is_plain]
    for markers in others:
        tokens = set(re.findall(r"<\|\w+\|>|\[\w+\]", markers.opens)) or {markers.opens}
        if tokens <= added:
            return markers
    if THINK_OPEN not in template:
        for markers in others:
            if markers.opens in template:
                return markers
    return FAMILIES["think"]


def family_of(response: str) -> str | None:
    """Return the family in whose manner a response opens its thinking, None where it does so in none.

    Args:
        response: decoded response; special tokens may be left out.
    """
    start = response.lstrip()[:40]
    if start.startswith("analysis") and "assistantfinal" in response:  # gpt-oss without its special tokens
        return "harmony"
    begins = {name: markers.opens.removesuffix("<|message|>") for name, markers in FAMILIES.items()}
    return next((name for name, text in begins.items() if name != "think" and start.startswith(text)), None)


def give_markers(tokenizer: Any, value: str | None) -> None:
    """Set a tokenizer's markers; None leaves them to `markers_of`.

    Args:
        tokenizer: the tokenizer; changed in place.
        value: a name of `FAMILIES`, or JSON: {"opens": "...", "closes": "...", "drops": ["..."]}.

    Raises:
        ConfigError: it is neither.
    """
    if value is not None:
        setattr(tokenizer, ATTRIBUTE, parse_markers(value))


def parse_markers(value: str) -> Markers:
    """Read a `--markers` value.

    Raises:
        ConfigError: it is no family and no JSON object of markers.
    """
    if value in FAMILIES:
        return FAMILIES[value]
    wanted = f'give one of {", ".join(FAMILIES)}, or {{"opens": "<reason>", "closes": "</reason>"}}'
    if not value.lstrip().startswith("{"):
        raise ConfigError(f"markers: {value!r} is no family of models; {wanted}{nearest(value, FAMILIES)}")
    try:
        given = json.loads(value)
    except json.JSONDecodeError as error:
        raise ConfigError(f"markers: {value!r} is not JSON ({error}); {wanted}") from error
    if unknown := sorted(set(given) - {"opens", "closes", "drops"}):
        raise ConfigError(f"markers: there is no {unknown[0]!r}; {wanted}")
    drops = given.get("drops", [])
    texts = [given.get("opens"), given.get("closes"), *(drops if isinstance(drops, list) else [None])]
    if not all(isinstance(text, str) and text for text in texts):
        raise ConfigError(f"markers: opens and closes must be texts, drops a list of texts; {wanted}")
    if len({*texts}) < len(texts):
        raise ConfigError(f"markers: two of {', '.join(map(repr, texts))} are the same; {wanted}")
    return Markers(texts[0], texts[1], tuple(texts[2:]))
