"""Phrase families: which words open a reasoning step, as data a user can replace."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, NamedTuple, cast, get_args

from attnpo.errors import ConfigError
from attnpo.files import UserFile
from attnpo.rollouts import StepFamily

CutRule = Literal["anywhere", "line_start"]
DEFAULT_PHRASES = Path(__file__).with_name("phrases.yaml")
PHRASE_FAMILIES: tuple[StepFamily, ...] = ("confused", "progression", "summary", "final")

_SPACE = r"[^\S\r\n]"
_HYPHENS = "\u2010\u2011-"  # the plain one last: these stand in character classes
_APOSTROPHES = "'\u2019"
_OPENERS = "*_(["
_MAX_OPENERS = 3
# Long enough for a phrase with its markup, so that looking at a paragraph's opening costs the same for any paragraph.
_OPENING = 256
# A phrase right after one of these is part of a word, of a command or of quoted speech, not a turn of the reasoning.
_NOT_BEFORE = frozenset("\"'`\\\u2018\u2019\u201c\u201e\u00ab\u2039" + _HYPHENS)
# "First-order", "Now's" and "Button" are other words than First, Now and But.
_WORD_END = rf"(?!\w|[{_APOSTROPHES}{_HYPHENS}]\w)"


class Cut(NamedTuple):
    """A place where a step begins.

    Attributes:
        start: character position of the step's first character.
        family: family of the phrase that opens it.
    """

    start: int
    family: StepFamily


@dataclass(frozen=True)
class PhraseFamily:
    """The phrases of one family and where they cut.

    Attributes:
        cut: `anywhere`, or `line_start` for only at the start of a line.
        phrases: the phrases, without duplicates.
    """

    cut: CutRule
    phrases: tuple[str, ...]


@dataclass(frozen=True)
class PhraseFamilies:
    """Phrases that open steps, by family (AttnPO, step segmentation).

    Matching respects case (unless `ignore_case`) and word boundaries, and leaves out phrases that directly follow a
    quotation mark: quoted words are talked about, not a turn of the reasoning. Lower-case "but" or "is it" inside a
    sentence opens nothing for the same reason.

    Attributes:
        families: family name → phrases and cut rule.
        ignore_case: whether upper and lower case are the same.
    """

    families: Mapping[StepFamily, PhraseFamily]
    ignore_case: bool = False

    @classmethod
    def load(cls, path: str | Path = DEFAULT_PHRASES) -> PhraseFamilies:
        """Read phrase families from a YAML file laid out like the packaged `phrases.yaml`.

        Raises:
            ConfigError: the file is missing, is not YAML, or a field of it is not as described there.
        """
        path = Path(path)
        return cls.parse(UserFile(path, "phrases file", ConfigError).yaml(), where=str(path))

    @classmethod
    def parse(cls, document: Any, where: str = "phrases") -> PhraseFamilies:
        """Build phrase families from the parsed YAML document.

        Args:
            document: mapping with `families` and optionally `schema_version` (1) and `ignore_case`.
            where: name of the file for error messages.

        Raises:
            ConfigError: a field is missing, unknown or malformed.
        """
        fields = _mapping(document, where, allowed=("schema_version", "ignore_case", "families"))
        if fields.get("schema_version", 1) != 1:
            raise ConfigError(f"{where}: schema_version is {fields['schema_version']!r}; this version reads 1")
        ignore_case = fields.get("ignore_case", False)
        if not isinstance(ignore_case, bool):
            raise ConfigError(f"{where}: ignore_case is {ignore_case!r}; set true or false")
        named = _mapping(fields.get("families"), f"{where}: families", allowed=PHRASE_FAMILIES)
        families: dict[StepFamily, PhraseFamily] = {}
        owner: dict[str, str] = {}
        for name, value in named.items():
            family = _parse_family(value, f"{where}: families.{name}")
            for phrase in family.phrases:
                key = _canonical(phrase, ignore_case)
                if owner.setdefault(key, name) != name:
                    raise ConfigError(
                        f"{where}: {phrase!r} stands in {owner[key]} and again in {name}; keep one of the two"
                    )
            families[cast(StepFamily, name)] = family
        if not owner:
            raise ConfigError(f"{where}: no phrase in any family; give at least one")
        return cls(families, ignore_case)

    def cuts(self, text: str) -> list[Cut]:
        """Return where phrases open steps in `text`, in order, at most one cut at a position.

        A cut falls before the spaces and opening markup (`**`, `(`) that lead the phrase, so that the token " Wait" of
        a byte-level tokenizer begins with its step; line breaks stay with the step before. Linear in the text's length.
        """
        found: dict[int, tuple[int, StepFamily]] = {}
        for cut, end, family in self._hits(text):
            if cut not in found or end > found[cut][0]:
                found[cut] = (end, family)
        return [Cut(start, found[start][1]) for start in sorted(found)]

    def opening_family(self, text: str) -> StepFamily:
        """Return the family of the phrase that `text` begins with (leading white space aside), else `plain`."""
        cuts = self.cuts(text.lstrip()[:_OPENING])
        return cuts[0].family if cuts and cuts[0].start == 0 else "plain"

    def _hits(self, text: str) -> Iterator[tuple[int, int, StepFamily]]:
        for rule, (pattern, families) in self._patterns.items():
            done = 0
            for hit in pattern.finditer(text):
                cut = _cut_position(text, hit.start(), done, rule)
                if cut is not None:
                    yield cut, hit.end(), families[cast(int, hit.lastindex) - 1]
                done = hit.end()

    @cached_property
    def _patterns(self) -> dict[CutRule, tuple[re.Pattern[str], list[StepFamily]]]:
        """One pattern a cut rule, and the family of each of its branches; an empty group marks the branch taken."""
        patterns: dict[CutRule, tuple[re.Pattern[str], list[StepFamily]]] = {}
        for rule in get_args(CutRule):
            phrases = [(p, name) for name, f in self.families.items() if f.cut == rule for p in f.phrases]
            if phrases:
                # Longest first: an alternation takes the first branch that fits.
                phrases.sort(key=lambda item: (-len(item[0]), item[0]))
                branches = "|".join(_branch(phrase) + "()" for phrase, _ in phrases)
                pattern = re.compile(branches, re.IGNORECASE if self.ignore_case else 0)
                patterns[rule] = pattern, [name for _, name in phrases]
        return patterns


def phrase_counts(text: str, phrases: PhraseFamilies) -> dict[StepFamily, int]:
    """Count the confused, progression and summary phrases of `text` that open a step before any merging."""
    counts: dict[StepFamily, int] = {"confused": 0, "progression": 0, "summary": 0}
    for cut in phrases.cuts(text):
        if cut.family in counts:
            counts[cut.family] += 1
    return counts


def _cut_position(text: str, start: int, floor: int, rule: CutRule) -> int | None:
    """Return where the step opened by a phrase at `start` begins, None when the phrase opens no step there."""
    begin = start
    if text[start].isalnum():
        while begin > floor and start - begin < _MAX_OPENERS and text[begin - 1] in _OPENERS:
            begin -= 1
        before = text[begin - 1] if begin > 0 else "\n"
        if before.isalnum() or before in _NOT_BEFORE or before in _OPENERS:
            return None
    while begin > floor and text[begin - 1].isspace() and text[begin - 1] not in "\r\n":
        begin -= 1
    at_line_start = begin == 0 or text[begin - 1] in "\r\n"
    return begin if rule == "anywhere" or at_line_start else None


def _branch(phrase: str) -> str:
    parts = []
    for character in " ".join(phrase.split()):
        if character == " ":
            parts.append(rf"{_SPACE}+")
        elif character in _HYPHENS:
            parts.append(rf"(?:[{_HYPHENS}]|{_SPACE}+)")
        elif character in _APOSTROPHES:
            parts.append(f"[{_APOSTROPHES}]")
        else:
            parts.append(re.escape(character))
    return "".join(parts) + (_WORD_END if phrase.rstrip()[-1].isalnum() else "")


def _canonical(phrase: str, ignore_case: bool) -> str:
    phrase = re.sub(rf"[\s{_HYPHENS}]+", " ", phrase.strip()).replace("\u2019", "'")
    return phrase.casefold() if ignore_case else phrase


def _mapping(value: Any, where: str, allowed: tuple[str, ...]) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise ConfigError(f"{where}: must be a mapping with {', '.join(allowed)}")
    unknown = [str(key) for key in value if key not in allowed]
    if unknown:
        raise ConfigError(f"{where}: unknown {unknown[0]!r}; allowed are {', '.join(allowed)}")
    return value


def _parse_family(value: Any, where: str) -> PhraseFamily:
    fields = _mapping(value, where, allowed=("cut", "phrases"))
    cut, phrases = fields.get("cut"), fields.get("phrases")
    if cut not in get_args(CutRule):
        raise ConfigError(f"{where}.cut is {cut!r}; set anywhere or line_start")
    if not isinstance(phrases, list):
        raise ConfigError(f"{where}.phrases must be a list of phrases")
    for phrase in phrases:
        if not isinstance(phrase, str) or not phrase.strip():
            raise ConfigError(f"{where}.phrases holds {phrase!r}; write every phrase as text (in quotes)")
    return PhraseFamily(cast(CutRule, cut), tuple(phrases))
