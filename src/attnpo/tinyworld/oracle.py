"""The truth about a trace: which steps are essential, which are redundant, which checks were useful.

Works on any text, the model's own included, and reads nothing but the question and the response.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

from attnpo.tinyworld.problems import DISTRACTOR_VERBS, ParsedQuestion, parse_question

Label = Literal["essential", "redundant", "undecided"]
Verdict = Literal["confirms", "corrects", "detects", "misses", "false alarm"]
SlipKind = Literal["stated", "derived", "miscalculated"]

_NUMBER = r"[0-9]{1,9}"
_TERMS = rf"{_NUMBER}(?: ?[-+] ?{_NUMBER})+"
_WORKED_OUT = re.compile(rf"({_TERMS}) ?= ?({_NUMBER})")
_EQUATION = re.compile(rf"({_NUMBER}) ?[-+] ?{_NUMBER} ?= ?({_NUMBER})")
_SUM = rf"{_NUMBER}(?: ?[-+] ?{_NUMBER}){{2,}}"
_CLAIM = re.compile(
    rf"(?:({_SUM}) ?= ?{_NUMBER}(?:\. S|,? s)o )?"
    rf"\b([A-Z][a-z]+) has (?:({_TERMS}) ?= ?)?({_NUMBER})(?![0-9]| ?[-+=]| more\b| fewer\b)"
)
"""What a value is worked out as in front of its name (three numbers or more: two are a check's), the name, what it is
worked out as behind it (nothing in either place where it is only stated), the value."""
_TERM = re.compile(_NUMBER)
_SIGNED = re.compile(rf"[-+]? ?{_NUMBER}")
_RESTATED_FACT = re.compile(r"\b[A-Z][a-z]+ has [0-9]{1,9} (?:more|fewer) than [A-Z][a-z]+")
_IRRELEVANT = re.compile(rf"\b[A-Z][a-z]+ (?:{'|'.join(DISTRACTOR_VERBS)}) [0-9]")
_DENIAL = re.compile(r"\bnot [0-9]")
_SUMMARY = re.compile(r"\s*(?:Therefore|Thus|Hence|Putting it all together)\b")
_REMARK = re.compile(
    r"\b(?:how many|the question|double-check|verify|check|checking|make sure|not needed|does not matter)\b",
    re.IGNORECASE,
)


@dataclass(frozen=True)
class Step:
    """One step as the oracle understands it."""

    label: Label
    claims: tuple[tuple[str, int], ...]
    """Names with the values that the step says they have, in its order."""
    establishes: tuple[str, ...]
    """Needed names whose right value this step is the first to state, or states after a wrong one."""
    verdict: Verdict | None
    """What the check found if the step is one, else None."""


@dataclass(frozen=True)
class _Claim:
    """What a step says that a name has, and by which terms it says so (None where it only states it)."""

    name: str
    terms: str | None
    value: int


@dataclass(frozen=True)
class Check:
    """A step that checks an earlier value by an equation of its own."""

    step: int
    name: str | None
    """Whose value is checked, where that can be told."""
    verdict: Verdict
    useful: bool
    """True only if a wrong value of a needed name stood before the step and the right one after it."""


@dataclass(frozen=True)
class Slip:
    """A needed name that a response gives a wrong value."""

    name: str
    step: int
    """The first step that does."""
    kind: SlipKind
    """How that step comes to it: by stating it without an equation (such as a given number under another name), by an
    equation that holds (under another name, or from a wrong number), by one that does not."""
    mended_at: int | None
    """The step from which on its last value, which is right, stands; None where the last value is wrong."""


@dataclass(frozen=True)
class Equation:
    """Numbers added and subtracted, and what a text says they come to."""

    numbers: int
    """How many there are on the left."""
    result: tuple[int, int]
    """Where the result stands: half-open character span."""
    holds: bool
    """Whether they do come to it."""


@dataclass(frozen=True)
class MergedStep:
    """A step that works a needed name's value out of three numbers or more at once."""

    right: bool
    """Whether it is that name's value."""
    holds: bool
    """Whether it is what its terms come to, be it another name's value."""


def _claims(text: str) -> list[_Claim]:
    return [_Claim(found[2], found[3] or found[1], int(found[4])) for found in _CLAIM.finditer(text)]


def _checked_name(text: str, said: dict[str, int], order: list[str]) -> str | None:
    """The name whose value a check's equation starts from: the latest so stated, else the latest at all.

    Of a check part by part, the name that it then gives another value, else the latest of the value that it comes to.
    """
    equations = [(int(first), int(result)) for first, result in _EQUATION.findall(text)]
    if not equations or not order:
        return None
    by_parts = len(equations) > 1 and all(a[1] == b[0] for a, b in itertools.pairwise(equations))
    if by_parts and (claims := _claims(text)):
        return claims[0].name if claims[0].name in said else order[-1]
    value = equations[-1][1] if by_parts else equations[0][0]
    return next((name for name in reversed(order) if said[name] == value), order[-1])


def _read(question: ParsedQuestion, texts: Sequence[str]) -> list[tuple[Step, str | None]]:
    """Follow what the steps say about each name, step by step."""
    truth, given = question.values, {fact.name for fact in question.held if fact.base is None}
    derived = {name for name in question.needed if name in truth and name not in given}
    said: dict[str, int] = {}
    order: list[str] = []
    read: list[tuple[Step, str | None]] = []
    for text in texts:
        found = _claims(text)
        claims = [(claim.name, claim.value) for claim in found]
        derives = any(claim.terms for claim in found)
        checked = None if derives or _IRRELEVANT.search(text) else _checked_name(text, said, order)
        before = dict(said)
        for name, value in claims:
            said[name] = value
            if name in order:
                order.remove(name)
            order.append(name)
        named = {name for name, _ in claims}
        establishes = tuple(
            name for name in dict(claims) if name in derived and said[name] == truth[name] != before.get(name)
        )
        spoils = any(name in truth and said[name] != truth[name] for name in named)
        denies = _DENIAL.search(text) is not None
        verdict: Verdict | None = None
        if checked is not None:
            was_wrong = checked in truth and before[checked] != truth[checked]
            if was_wrong:
                mended = said[checked] == truth[checked]
                verdict = "corrects" if mended else "detects" if denies else "misses"
            else:
                verdict = "false alarm" if denies or spoils else "confirms"
        label: Label
        if establishes:
            label = "essential"
        elif spoils or verdict in ("detects", "false alarm") or not question.facts or _SUMMARY.match(text):
            label = "undecided"
        elif (
            claims
            or checked is not None
            or _RESTATED_FACT.search(text)
            or _IRRELEVANT.search(text)
            or _REMARK.search(text)
        ):
            label = "redundant"
        else:
            label = "undecided"
        read.append((Step(label, tuple(claims), establishes, verdict), checked))
    return read


def describe_steps(question: str, response: str, steps: Sequence[tuple[int, int]]) -> list[Step]:
    """What each step says and does; `steps` are half-open character spans of `response`, in order."""
    texts = [response[start:stop] for start, stop in steps]
    return [step for step, _ in _read(parse_question(question), texts)]


def label_steps(question: str, response: str, steps: Sequence[tuple[int, int]]) -> list[Label]:
    """Label the steps of any response from the texts alone; never raises on text.

    - *essential*: the first step that states the right value of a name the answer depends on and whose value
      the question does not give; also a later step that restores such a value after a wrong one was stated.
    - *redundant*: states only what was known (given facts, values already right, names the answer does not
      depend on), works out what somebody sold or paid, or checks a value and leaves it as it was.
    - *undecided*: states a wrong value; denies a value without mending it, or denies a right one; a summary
      ("Therefore", "Thus", "Hence", "Putting it all together") of values already right; or says nothing that
      the oracle can read. Every step is undecided if the question holds no fact that can be read.
    """
    return [step.label for step in describe_steps(question, response, steps)]


def equations(text: str) -> list[Equation]:
    """Return every equation of a text, in order."""
    return [
        Equation(len(_TERM.findall(found[1])), found.span(2), _total(found[1]) == int(found[2]))
        for found in _WORKED_OUT.finditer(text)
    ]


def wrong_results(text: str) -> list[tuple[int, int]]:
    """Half-open character spans of the results of equations that do not hold."""
    return [equation.result for equation in equations(text) if not equation.holds]


def _total(terms: str) -> int:
    return sum(int(term.replace(" ", "")) for term in _SIGNED.findall(terms))


def find_slips(question: str, response: str, steps: Sequence[tuple[int, int]]) -> list[Slip]:
    """Return the needed names that were ever given a wrong value, by the first step that did."""
    parsed = parse_question(question)
    truth = {name: value for name, value in parsed.values.items() if name in parsed.needed}
    found: dict[str, Slip] = {}
    for number, (start, stop) in enumerate(steps):
        for claim in _claims(response[start:stop]):
            name, value = claim.name, claim.value
            if name not in truth:
                continue
            slip = found.get(name)
            if value == truth[name]:
                if slip is not None and slip.mended_at is None:
                    found[name] = replace(slip, mended_at=number)
            elif slip is not None:
                found[name] = replace(slip, mended_at=None)
            else:
                holds = claim.terms and _total(claim.terms) == value
                kind: SlipKind = "stated" if not claim.terms else "derived" if holds else "miscalculated"
                found[name] = Slip(name, number, kind, None)
    return list(found.values())


def merged_steps(question: str, response: str, steps: Sequence[tuple[int, int]]) -> list[MergedStep]:
    """Return every step that works a needed name's value out of three numbers or more at once, in order."""
    parsed = parse_question(question)
    truth = {name: value for name, value in parsed.values.items() if name in parsed.needed}
    found = (claim for start, stop in steps for claim in _claims(response[start:stop]))
    return [
        MergedStep(right=claim.value == truth[claim.name], holds=_total(claim.terms) == claim.value)
        for claim in found
        if claim.name in truth and claim.terms and len(_TERM.findall(claim.terms)) > 2
    ]


def first_error(question: str, response: str, steps: Sequence[tuple[int, int]]) -> int | None:
    """Return the first step that states something wrong; never raises on text.

    That is a wrong value of a name, or an equation that does not hold, a check's too. Where no step does, the error of
    a wrong response stands behind its steps, whose number is returned; None where the question holds no fact that can
    be read, so that nothing is known of what the steps say of it.
    """
    parsed = parse_question(question)
    described = zip(describe_steps(question, response, steps), steps, strict=True)
    for number, (step, (start, stop)) in enumerate(described):
        wrong_value = any(value != parsed.values.get(name, value) for name, value in step.claims)
        if wrong_value or wrong_results(response[start:stop]):
            return number
    return len(steps) if parsed.facts else None


def check_usefulness(question: str, response: str, steps: Sequence[tuple[int, int]]) -> list[Check]:
    """Every check among the steps, with what it found and whether it mended an error."""
    parsed = parse_question(question)
    texts = [response[start:stop] for start, stop in steps]
    return [
        Check(index, name, step.verdict, step.verdict == "corrects" and name in parsed.needed)
        for index, (step, name) in enumerate(_read(parsed, texts))
        if step.verdict is not None
    ]
