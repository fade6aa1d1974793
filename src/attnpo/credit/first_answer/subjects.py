"""Whom does the question ask about, and of whom does a sentence speak? By names alone; silent where there are none."""

from __future__ import annotations

import re
from dataclasses import dataclass

_NAME = re.compile(r"\b[A-Z][a-z]+\b")
# Capitalized words that open sentences and name nobody.
_OPENERS = frozenset(
    re.findall(
        r"\w+",
        "A After All Also Alternatively An And Another Answer Any As Assume At Because Before Both But By "
        "Calculate Can Checking Compute Consider Determine Do Does During Each Eight Enter Evaluate Every Express "
        "Fifty Find First Five For Four From Given Half Has He Hence Her His Hmm Hold How However I If In "
        "Initially Into Is It Its Last Let Next Nine No Now Of Okay On Once One Only Or Our Out Over Please "
        "Put Right Round Second Seven She Show Simplify Since Six So Solve Some Suppose Ten That The Their "
        "Them Then There Therefore These They Third This Those Three Thus To Together Twelve Twenty Two Under "
        "Until Wait We What When Where Which While Who Why With Write Yes Yesterday You Your",
    )
)
_AUXILIARY = r"(?:do|does|did|has|have|had|will|would|can|could|is|are|was|were|must|should|may|might)"
_ASKED = re.compile(rf"\b{_AUXILIARY}\s+([A-Z][a-z]+)\b|\b([A-Z][a-z]+)['’]s?\b")
_QUESTION = re.compile(r"[^.!?\n]*\?")
# A name behind one of these is compared with or counted along, and is not who the sentence speaks of.
_AS_OBJECT = re.compile(r"\b(?:than|as|from|of|to|with|by|like|for|in|on|at|during|does|did|do|has|have)\s+\Z", re.I)
_JOINED = re.compile(r"\b(?:and|or)\s+\Z", re.IGNORECASE)
_ACTS = re.compile(r"\s+(?:\w+(?:s|ed)|had|have|got|made|will|would|can|could)\b|\s*=")
_NEW_CLAUSE = re.compile(r"[,;:]|\b(?:then|so)\b")
_CHECKS = re.compile(
    r"\b(?:double[- ]?check|verify|make sure|checking|confirm"
    r"|(?:let me|let['’]?s|I(?:['’]ll| will)?|to) (?:re-?)?check)\b",
    re.IGNORECASE,
)


@dataclass(frozen=True)
class Subjects:
    """The names of a question.

    Attributes:
        names: everybody it names.
        asked: those its last question asks about; where it asks about nobody by name, no sentence is turned away.
    """

    names: frozenset[str]
    asked: frozenset[str]

    @classmethod
    def of(cls, question: str) -> Subjects:
        """Read the names off a question."""
        names = frozenset(_NAME.findall(question)) - _OPENERS
        asking = _QUESTION.findall(question)
        last = asking[-1] if asking else ""
        named = {name for match in _ASKED.findall(last) for name in match if name} & names
        return cls(names, frozenset(_NAME.findall(last)) & names if named else frozenset())

    def subject(self, text: str) -> str | None:
        """Return of whom a sentence speaks where a value stands in it, None where it names nobody.

        That is the last name before the value, those aside that are only compared with; or somebody asked about who
        was named before it, where a new clause has begun since.

        Args:
            text: the sentence up to the value.
        """
        mentions = [match for match in _NAME.finditer(text) if self._is_name(match) and not _is_object(match)]
        if not mentions:
            return None
        asked = [match[0] for match in mentions if match[0] in self.asked]
        last = mentions[-1]
        return asked[-1] if asked and _NEW_CLAUSE.search(text, last.end()) else last[0]

    def _is_name(self, match: re.Match[str]) -> bool:
        """Whether a capitalized word names somebody: the question does, or it opens no sentence."""
        opens = not match.string[: match.start()].strip("*_#>- \t")
        return match[0] in self.names or (not opens and match[0] not in _OPENERS)


def _is_object(match: re.Match[str]) -> bool:
    before = match.string[: match.start()]
    joined = _JOINED.search(before) and not _ACTS.match(match.string, match.end())
    return _AS_OBJECT.search(before) is not None or bool(joined)


def is_check(text: str) -> bool:
    """Whether a text says that it checks something."""
    return _CHECKS.search(text) is not None
