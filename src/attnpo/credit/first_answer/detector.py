"""The first sentence of a think part that reveals the answer, found by the verifier; the published methods ask a model.

LC-R1 asks a small extractor model, DECS and DEPO a judge model. Here the **verifier** takes their place: what each
sentence states is put into the form of a final answer and verified against the reference; the first sentence with a
statement that passes is where the answer stands. Nothing is sampled and no model is asked. A user's own function (an
extractor model, for example) can be named in its place.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Final

from attnpo.credit.first_answer.sentences import sentences
from attnpo.credit.first_answer.statements import Source, numbers, statements
from attnpo.credit.first_answer.subjects import Subjects, is_check
from attnpo.errors import ConfigError, DataError
from attnpo.loading import load_function
from attnpo.rollouts import Span
from attnpo.think import THINK_CLOSE
from attnpo.verification import reference_answer
from attnpo.verification.math_numbers import plain_number
from attnpo.verification.math_text import tidy

DETECTOR: Final = "verifier"
Verify = Callable[[Sequence[str], Sequence[str]], list[bool]]
"""(responses, references) -> verdicts."""
Detector = Callable[[Sequence[str], Sequence[str], Sequence[str]], Sequence[int | None]]
"""A user's detector: (questions, think parts, references) -> for each the place in the think part, in characters, just
behind the first sentence that reveals the answer; None where none does."""

_LETTER = re.compile(r"\(?[A-Z]\)?")
_LETTERS = re.compile(r"\\[a-zA-Z]+|[a-zA-Z]")
_CODE = re.compile(r"\A(?:zlib:|\s*\{\s*\"kind\"\s*:)")


@dataclass(frozen=True)
class Trace:
    """A response to look into.

    Attributes:
        question: what was asked, as text.
        solution: the reference.
        text: the response.
        think: the think part's span of characters.
        steps: spans of characters of the steps, in order.
        token_starts: place of the first character of each response token, in order.
    """

    question: str
    solution: str
    text: str
    think: Span
    steps: Sequence[Span]
    token_starts: Sequence[int]


@dataclass(frozen=True)
class FirstAnswer:
    """Where the answer stands.

    Attributes:
        chars: the sentence's span of characters in the response.
        tokens: how many response tokens begin before its end.
        step: number of the step that holds its last character.
        content: what it states, None where a user's detector found it.
    """

    chars: Span
    tokens: int
    step: int
    content: str | None = None


@dataclass(frozen=True)
class _Claim:
    trace: int
    sentence: Span
    content: str


def load_detector(name: str) -> Detector | None:
    """Return the detector that a setting names: None for `verifier`, else a user's function, see `Detector`.

    Raises:
        ConfigError: it is neither, or cannot be imported.
    """
    if name == DETECTOR:
        return None
    if ":" not in name:
        raise ConfigError(f"detector: {name!r} is not allowed; use '{DETECTOR}' or a module:function")
    function: Detector = load_function(name, "detector", ("questions", "think parts", "references"))
    return function


def first_answer(trace: Trace, verify: Verify, detector: Detector | None = None) -> FirstAnswer | None:
    """Return where the answer stands first in one response; see `first_answers`."""
    return first_answers([trace], verify, detector)[0]


def first_answers(
    traces: Sequence[Trace], verify: Verify, detector: Detector | None = None
) -> list[FirstAnswer | None]:
    """Return for each response the first sentence of its think part that reveals the answer, None where none does.

    All statements of all responses are verified in one call, each different one once.

    Args:
        traces: the responses.
        verify: the run's verifier.
        detector: a user's function in the verifier's place.

    Raises:
        ConfigError: the references are the tests of programs, which no sentence can state.
        DataError: a user's detector returns no place inside the think part.
    """
    if detector is not None:
        return _by_function(traces, detector)
    for trace in traces:
        if _CODE.match(trace.solution):
            raise ConfigError(
                "detector: the references are tests of programs (verifier code), which no sentence of a think part "
                "states; use a method without a detector, or name a module:function as detector"
            )
    claims = [claim for number, trace in enumerate(traces) for claim in _claims(number, trace)]
    keys = [(claim.content, traces[claim.trace].solution) for claim in claims]
    different = list(dict.fromkeys(keys))
    verdicts = verify([_as_response(content) for content, _ in different], [solution for _, solution in different])
    right = {key for key, verdict in zip(different, verdicts, strict=True) if verdict}
    found: list[FirstAnswer | None] = [None] * len(traces)
    for claim, key in zip(claims, keys, strict=True):
        if found[claim.trace] is None and key in right:
            found[claim.trace] = _placed(traces[claim.trace], claim.sentence, claim.content)
    return found


def _claims(number: int, trace: Trace) -> list[_Claim]:
    """Return what the sentences of a think part state that may be the answer, in order."""
    reference = reference_answer(trace.solution)
    wanted, letter = _value(reference), _LETTER.fullmatch(reference.strip()) is not None
    known, subjects, letters = numbers(trace.question), Subjects.of(trace.question), _letters(reference)
    claims, checking_until = [], -1
    for start, end in sentences(trace.text, trace.think):
        sentence = trace.text[start:end]
        if is_check(sentence):
            checking_until = next((stop for _, stop in trace.steps if start < stop), end)
        for statement in statements(sentence, numeric=wanted is not None, letter=letter, known=known):
            about = subjects.subject(sentence[: statement.place])
            if not _counts(statement.source, about, subjects.asked, start < checking_until):
                continue
            if (wanted is None and letters <= _letters(statement.content)) or (
                wanted is not None and _may_equal(statement.content, wanted)
            ):
                claims.append(_Claim(number, (start, end), statement.content))
    return claims


def _counts(source: Source, about: str | None, asked: frozenset[str], checking: bool) -> bool:
    """Whether a statement may be the answer, going by whom it speaks of (where the question asks for somebody)."""
    if source == "repeated":
        return about in asked
    if source == "stated" or not asked:
        return True
    # What a check works out backwards without naming anybody is some earlier value.
    return not checking if about is None else about in asked


def _value(text: str) -> Fraction | None:
    number = plain_number(tidy(text))
    return None if number is None else number.value


def _may_equal(content: str, wanted: Fraction) -> bool:
    """Whether it is worth asking the verifier: a number near the reference, percent signs aside."""
    value = _value(content)
    if value is None:
        return False
    nearby = (abs(value * factor - wanted) <= abs(wanted) / 1000 for factor in (1, 100, Fraction(1, 100)))
    return any(nearby)


def _letters(text: str) -> set[str]:
    return {letter for letter in _LETTERS.findall(text) if not letter.startswith("\\")}


def _as_response(content: str) -> str:
    return rf"{THINK_CLOSE}The answer is \boxed{{{content}}}."


def _placed(trace: Trace, sentence: Span, content: str | None = None) -> FirstAnswer:
    end = sentence[1]
    step = next((number for number, (_, stop) in enumerate(trace.steps) if end <= stop), len(trace.steps) - 1)
    return FirstAnswer(sentence, bisect_left(trace.token_starts, end), step, content)


def _by_function(traces: Sequence[Trace], detector: Detector) -> list[FirstAnswer | None]:
    thoughts = [trace.text[slice(*trace.think)] for trace in traces]
    ends = list(detector([t.question for t in traces], thoughts, [t.solution for t in traces]))
    if len(ends) != len(traces):
        raise DataError(f"detector: returned {len(ends)} places for {len(traces)} responses; return one for each")
    found: list[FirstAnswer | None] = []
    for trace, thought, end in zip(traces, thoughts, ends, strict=True):
        if end is not None and not (isinstance(end, int) and 0 < end <= len(thought)):
            raise DataError(
                f"detector: returned {end!r} for a think part of {len(thought)} characters; return a place from 1 to "
                "its length, or None"
            )
        if end is None:
            found.append(None)
            continue
        stop = trace.think[0] + end
        start = next((span[0] for span in sentences(trace.text, trace.think) if stop <= span[1]), trace.think[0])
        found.append(_placed(trace, (min(start, stop - 1), stop)))
    return found
