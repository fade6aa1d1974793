r"""What a sentence states: values that may be the answer, each in the form of a box's content.

A value counts where it is stated as the answer (`\boxed{x}`, `the answer is x`), where it is derived (it stands right
of `=` as a finished value), or where a verb gives it (`has x left`) and the question does not give it already, or the
sentence concludes (`Therefore, ...`; behind a mere `so` it is *repeated*). Guesses, questions and denials count for
nothing, nor do operands.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from attnpo.verification import boxed_answer
from attnpo.verification.choice import chosen_letter

Source = Literal["stated", "derived", "given by a verb", "repeated"]

_LONGEST = 200
# Thousands are parted by a comma, a space that breaks no line, or LaTeX's `\,` and `{,}`.
_THOUSANDS = r"(?:,|\{,\}|,?\\[,!]|[\u00a0\u202f])"
_DIGITS = rf"(?:\d{{1,3}}(?:{_THOUSANDS}\d{{3}})+(?!\d)|\d+)(?:\.\d+)?|\.\d+"
_FRACTION = r"\\[dtc]?frac\s*\{\s*-?\d+\s*\}\s*\{\s*\d+\s*\}"
_VALUE = rf"[-−+]?\s*(?:\\?\$\s*)?(?:{_FRACTION}|(?:{_DIGITS})(?:\s*/\s*\d+)?)(?:\s*\\?%)?"
_LEAD = r"(?:\s|\\\(|\\\[|\$|\*{1,2}|_{1,2}|\{|~|\\[,;!: ])*"
# Where an operator, a power, a bracket or a letter follows, the value is part of an expression that goes on.
_UNIT = r"(?:[cdkm]?m|[km]?g|[cm]?[lL]|lbs?|oz|ft|in|mi|mph|kph|hrs?|mins?|secs?|s|h)\b"
# Stars and underscores may also close the bold or slanted type that the value stands in.
_STARS = r"\s*\*{1,2}\s*[\d(\\$]|\s+\*{1,2}\s*[a-zA-Z]|\*{1,2}[a-zA-Z]|_[\d{a-zA-Z]"
# A mixed number, a time of day, thousands parted by a plain space, a number partly in words.
_LONGER = r"\s+\d+\s*/\s*\d|:\d|\s\d{3}(?!\d)|\s+(?:hundred|thousand|million|billion)\b"
# A factorial (an exclamation ends the sentence), a quotient by a variable (`/h` is a unit).
_OPERATED = rf"!\s*(?:[-+/=×·÷−^\d(){{}}\\]|\*(?!\*))|\s*/\s*(?!{_UNIT})[a-zA-Z]\b"
_GOES_ON = (
    rf"(?!{_STARS}|{_LONGER}|{_OPERATED}"
    r"|\s*(?:[-+^×·÷−(\[<>]|/\s*[\d(\\$]|\\(?:times|cdot|div|pm|[dtc]?frac|sqrt|pi|le|ge|lt|gt)|x\s*\d)|[\d,.]*\d"
    rf"|(?!{_UNIT})[a-zA-Z{{]|\\(?!text|mathrm|mbox|quad|[)\],;:!\\ ]))"
)
_RIGHT_SIDE = re.compile(rf"(?<![<>!:=])=(?!=){_LEAD}(?:\\(?:boxed|text|mathbf)\{{)?({_VALUE}){_GOES_ON}")
_VERB = (
    r"(?:is|are|was|were|be|equals?|gives?|gets?|got|makes?|made|has|have|had|leaves?|left|becomes?|means?|yields?|"
    r"earns?|earned|costs?|takes?|took|needs?|needed|pays?|paid|spends?|spent|total(?:s|ed)?|sum|of|to|only)"
)
_GIVEN = re.compile(rf"\b{_VERB}\s+(?:[a-z]+\s+){{0,2}}{_LEAD}({_VALUE}){_GOES_ON}(?!\s*=)")
_STATED_TEXT = re.compile(
    r"(?i:\b(?:final\s+)?answer\b(?:(?!\bnot\b)[^.\n:=]){0,40}?(?:\s(?:is|be|=)|:|\*\*)\s*:?)\s*(?P<rest>[^\n]{1,200})"
)
_EQUALS = re.compile(r"(?<![<>!:=])=(?!=)")
_SIDE_ENDS = re.compile(r"(?<![<>!:=])=(?!=)|\\\\|\$|\\\)|\\\]|;|\s(?:and|so|which|where|when|because)\s")
_MATH = re.compile(r"\\boxed\s*\{|\$([^$]+)\$|\\\((.+?)\\\)|\\\[(.+?)\\\]")
_FIRMLY = r"therefore|thus|hence|consequently|in total|altogether|in conclusion|putting it all together"
_CONCLUDES = re.compile(rf"(?i:(?:\A\W*|,\s*)(?:so|finally|(?:this|that) (?:means|gives))\b|\b(?:{_FIRMLY})\b)")
# A number of the question may just be said again behind a mere "so".
_CONCLUDES_FIRMLY = re.compile(rf"(?i:\b(?:{_FIRMLY})\b)")
_DOUBTS = re.compile(
    r"(?i:\b(?:suppose|assume|assuming|guess|maybe|perhaps|might|could be|what if|let'?s say|let'?s try|try)\b)"
    r"|(?i:(?:\A\W*|,\s*)(?:is it|is that|is this)\b)|\?\W*\Z"
)
# What an if-clause says ends with the clause.
_CONDITION = re.compile(r"(?i:\bif\b)[^,;]*?(?=,|;|\bthen\b|\Z)")
_DENIED = re.compile(r"(?i:\b(?:not|never|isn'?t|instead of|rather than)\s+)\Z")
_ENUMERATES = re.compile(r"(?i:\b(?:step|case|equation|part|line|method|option|example|figure|problem)\s*)\Z|[#(]\Z")
_RELATIVE = re.compile(r"\s*(?:more|fewer|less|times|percent of|%? of)\b")
_NUMBER = re.compile(_VALUE)


@dataclass(frozen=True)
class Statement:
    """A value that a sentence states.

    Attributes:
        content: what would stand in a box.
        place: where in the sentence its statement begins.
        source: how it is stated.
    """

    content: str
    place: int
    source: Source


def statements(
    sentence: str, *, numeric: bool, letter: bool, known: frozenset[str] = frozenset()
) -> Iterator[Statement]:
    """Yield what a sentence states, the form of the reference decides what is worth looking at.

    Args:
        sentence: the sentence.
        numeric: the reference is a plain number, so only plain numbers can be it.
        letter: the reference is a choice's letter.
        known: the numbers that the question gives.
    """
    if _DOUBTS.search(sentence):
        return
    conditions = [match.span() for match in _CONDITION.finditer(sentence)]
    for statement in _unconditional(sentence, numeric, letter, known):
        if not any(start <= statement.place < end for start, end in conditions):
            yield statement


def _unconditional(sentence: str, numeric: bool, letter: bool, known: frozenset[str]) -> Iterator[Statement]:
    boxed = boxed_answer(sentence)
    if boxed is not None:
        yield Statement(boxed.strip()[:_LONGEST], sentence.rfind("\\boxed"), "stated")
    if letter:
        chosen = chosen_letter(sentence) if _names_a_choice(sentence) else None
        if chosen is not None:
            yield Statement(chosen, 0, "stated")
        return
    for match in _STATED_TEXT.finditer(sentence):
        yield from (Statement(content, match.start(), "stated") for content in _readings(match["rest"], numeric))
    for content, place in _right_sides(sentence, numeric):
        yield Statement(content, place, "derived")
    if numeric:
        yield from _given_values(sentence, known)
    elif _CONCLUDES.search(sentence):
        yield from (Statement(content, place, "given by a verb") for content, place in _formulas(sentence))


def _given_values(sentence: str, known: frozenset[str]) -> Iterator[Statement]:
    concludes = _CONCLUDES_FIRMLY.search(sentence) is not None
    for match in _GIVEN.finditer(sentence):
        before, content = sentence[: match.start(1)], _bare(match[1])
        if _DENIED.search(before) or _ENUMERATES.search(before) or _RELATIVE.match(sentence, match.end()):
            continue
        if concludes or content not in known:
            yield Statement(content, match.start(1), "given by a verb")
        elif _CONCLUDES.search(sentence):
            yield Statement(content, match.start(1), "repeated")


def numbers(text: str) -> frozenset[str]:
    """Return the plain numbers in a text, as `Statement.content` writes them."""
    return frozenset(_bare(match) for match in _NUMBER.findall(text))


def _names_a_choice(sentence: str) -> bool:
    return re.search(r"(?i:\b(?:answer|choice|option|choose|select|pick|correct)\b)", sentence) is not None and not (
        re.search(r"(?i:\b(?:not|isn'?t|incorrect|wrong|eliminate)\b)", sentence)
    )


def _right_sides(sentence: str, numeric: bool) -> Iterator[tuple[str, int]]:
    if numeric:
        for match in _RIGHT_SIDE.finditer(sentence):
            yield _bare(match[1]), match.start()
        return
    for match in _EQUALS.finditer(sentence):
        side = _SIDE_ENDS.split(sentence[match.end() :], maxsplit=1)[0]
        content = side.strip().rstrip(".,:! ").strip()
        if content:
            yield content[:_LONGEST], match.start()


def _readings(rest: str, numeric: bool) -> Iterator[str]:
    """Yield how the text behind `the answer is` may be read."""
    if numeric:
        if match := re.match(rf"{_LEAD}(?:\\boxed\{{)?({_VALUE}){_GOES_ON}", rest):
            yield _bare(match[1])
        return
    if math := next(_formulas(rest), None):
        yield math[0]
    yield rest.strip().strip("*").rstrip(".! ").strip()


def _formulas(text: str) -> Iterator[tuple[str, int]]:
    for match in _MATH.finditer(text):
        content = next((group for group in match.groups() if group), "").strip()
        if content:
            yield content.rpartition("=")[2].strip()[:_LONGEST], match.start()


def _bare(value: str) -> str:
    return re.sub(r"\\?%", r"\\%", re.sub(r"\\?\$|\{,\}|\\[,!]|\s|,|\+", "", value).replace("−", "-"))
