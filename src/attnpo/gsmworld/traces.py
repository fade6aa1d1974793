"""Worked solutions → traces that overthink: right steps among checks, restatements and second thoughts, slips mended.

A trace is what an R1-like model might write: steps as paragraphs, `</think>`, the solution once more, the box. Nothing
but the content tells an essential step from a redundant one: both kinds share openers, lengths and places.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from fractions import Fraction
from random import Random

from attnpo.gsmworld.equations import Equation, find_equations, write_number

STEP_BREAK = "\n\n"
THINK_END = "\n</think>\n\n"

OPENERS = ("So", "Now,", "Then", "Okay,", "Hmm,", "Wait,", "Alright,", "Next,", "Let me see,", "But")
NONE_SHARE = 0.15
"""Share of steps without an opener."""
AGREED = ("Yes.", "Okay, good.", "That is right.", "Good.", "Yes, that matches.")
ASIDES = (
    "maybe there is a shortcut here, but going step by step is safer.",
    "I could set this up with a variable, but plain arithmetic will do.",
    "does the problem mean something else? I think that my reading is right.",
    "I should be careful here.",
    "let me slow down for a moment.",
    "let me think.",
)
PLANS = (
    "I need to work this out step by step.",
    "let me first sort out what I know.",
    "this has a few steps, so I will take them in order.",
)
CHECKING = ("let me double-check", "checking", "let me make sure", "check")
CHECKING_BACK = ("let me go back", "checking backwards", "going back from there", "let me undo it")

LOWERED = frozenset(
    (
        *("The", "His", "Her", "Their", "They", "There", "In", "On", "At", "He", "She", "It", "Its", "Together", "You"),
        *("A", "An", "Each", "If", "Of", "Let", "Is", "Maybe", "Does", "This", "That", "These", "Those", "We", "For"),
        *("From", "To", "With", "After", "Before", "When", "While", "By", "One", "Two", "Half", "How", "What", "Out"),
        *("And", "All", "Both", "Since", "Altogether", "Overall"),
    )
)
"""Words that are written small within a sentence; any other may be a name."""


@dataclass(frozen=True)
class TraceStyle:
    """Probabilities with which a trace takes its detours.

    Attributes:
        slip: a step states a wrong value first; the check that follows mends it.
        check: a right step is checked.
        check_again: a check is followed by another.
        question: the question is restated at the start.
        given: a sentence of the question is restated; drawn again for another one.
        plan: a plan is made at the start.
        aside: a thought that leads nowhere stands before a step.
        reread: a sentence of the question is read again after a step.
        summary: the equations are gone over once more at the end.
        conclusion: the answer is named at the end of the think part.
    """

    slip: float = 0.22
    check: float = 0.6
    check_again: float = 0.2
    question: float = 0.35
    given: float = 0.28
    plan: float = 0.2
    aside: float = 0.22
    reread: float = 0.08
    summary: float = 0.2
    conclusion: float = 0.2


PLAIN = TraceStyle(**{entry.name: 0.0 for entry in fields(TraceStyle)})
"""No detours: the steps of the solution alone."""


@dataclass(frozen=True)
class Trace:
    """A response that overthinks, as text after the generation prompt's `<think>`.

    Attributes:
        text: the response; its answer is right.
        masked: half-open character spans that the loss leaves out: the slips' wrong values, which nobody should learn.
    """

    text: str
    masked: tuple[tuple[int, int], ...]


@dataclass
class _Writer:
    rng: Random
    steps: list[str] = field(default_factory=list)
    wrong: list[tuple[int, str]] = field(default_factory=list)
    """Step number and wrong value as it stands there."""

    def say(self, body: str) -> None:
        opener = "" if self.rng.random() < NONE_SHARE else self.rng.choice(OPENERS) + " "
        text = opener + (_lower(body) if opener else body)
        self.steps.append(text[0].upper() + text[1:])


def write_trace(
    question: str, worked: str, answer: str, seed: int | Random = 0, style: TraceStyle | None = None
) -> Trace:
    """Write a trace of a question.

    Args:
        question: the question.
        worked: the worked solution, a line a step; equations in it are true (`problems.reads_true`).
        answer: the answer in figures.
        seed: a number, or the generator to draw from.
        style: how often it takes which detour.
    """
    rng = seed if isinstance(seed, Random) else Random(f"{question}/{seed}")
    style = style or TraceStyle()
    writer = _Writer(rng)
    sentences = _sentences(question)
    _begin(writer, sentences, style)
    done: list[Equation] = []
    for line in solution_steps(worked):
        if rng.random() < style.aside:
            writer.say(rng.choice(ASIDES))
        equations = find_equations(line)
        line = _vary(line, equations, rng)
        equations = find_equations(line)
        slipped = _slip(equations, rng) if equations and rng.random() < style.slip else None
        if slipped is None:
            writer.say(line)
        else:
            at, wrong = slipped
            start, stop = equations[at].span
            head = line[start:stop].rpartition("=")[0]
            space = " " if line[start:stop].rpartition("=")[2].startswith(" ") else ""
            currency = "$" if "$" in line[start:stop].rpartition("=")[2] else ""
            writer.say(line[:start] + head + "=" + space + currency + wrong + line[stop:])
            writer.wrong.append((len(writer.steps) - 1, wrong))
            writer.say(_mend(equations[at], wrong, rng))
        done += equations
        chance = style.check if equations else 0.0
        while rng.random() < chance:
            writer.say(_check(rng.choice(equations), rng))
            chance = style.check_again
        if rng.random() < style.reread:
            writer.say(f"let me reread that part. It says: {rng.choice(sentences)} That is what I used.")
    if done and rng.random() < style.summary:
        again = " ".join(without_units(e) + "." for e in done)
        writer.say(f"let me go over everything once more. {again} {rng.choice(AGREED)}")
    if rng.random() < style.conclusion:
        writer.say(rng.choice((f"the answer should be {answer}.", f"that gives {answer} in the end.")))
    shown = " and ".join(without_units(equation) for equation in find_equations(plain_solution(worked)))
    final = rng.choice((f"So {shown}.", f"{shown}.", f"We get {shown}."))
    text = STEP_BREAK.join(writer.steps) + THINK_END + f"{final}\n\nThe final answer is \\boxed{{{answer}}}."
    return Trace(text, _spans(writer))


def plain_solution(worked: str) -> str:
    """Return a worked solution without GSM8K's calculator marks and what follows `####`."""
    return re.sub(r"<<[^<>]*>>", "", worked.partition("####")[0]).strip()


def solution_steps(worked: str) -> list[str]:
    """Return the lines of a worked solution without the connectives that they begin with."""
    steps = []
    for line in plain_solution(worked).splitlines():
        line = re.sub(r"^(?:So|Then|Thus|Therefore|Hence|Now|First|Next|Finally|Also)\b,? *", "", line.strip())
        if line:
            steps.append(line[0].upper() + line[1:])
    return steps


def _begin(writer: _Writer, sentences: Sequence[str], style: TraceStyle) -> None:
    """What is said before the first step of the solution."""
    rng = writer.rng
    if rng.random() < style.question:
        asked = sentences[-1].rstrip("?")
        writer.say(
            rng.choice((f"the question is: {asked}?", f"I am asked this: {asked}?", f"{asked}? That is the question."))
        )
    if rng.random() < style.plan:
        writer.say(rng.choice(PLANS))
    left = list(sentences[:-1])
    while left and rng.random() < style.given:
        told = left.pop(rng.randrange(len(left)))
        writer.say(
            rng.choice(
                (f"let me note what is given: {told}", f"the problem says: {told}", f"we know this: {told}", told)
            )
        )


def _vary(line: str, equations: Sequence[Equation], rng: Random) -> str:
    """The line, ended, its equations with or without units; sometimes only they."""
    line = _ended(line)
    if not equations:
        return line
    draw = rng.random()
    if draw < 0.1:
        written = " and ".join(without_units(equation) for equation in equations)
        return rng.choice((f"that is {written}.", f"I get {written}.", f"this comes to {written}.", f"{written}."))
    if draw < 0.5:
        for equation in reversed(equations):
            start, stop = equation.span
            line = line[:start] + without_units(equation) + line[stop:]
    return line


def without_units(equation: Equation) -> str:
    """Return an equation in figures and signs alone, as in `40*3=120`."""
    return f"{equation.left.replace(' ', '')}={write_number(equation.value)}"


def _slip(equations: Sequence[Equation], rng: Random) -> tuple[int, str] | None:
    """Which equation slips, and its wrong value; None where it has no whole number to slip to."""
    at = rng.randrange(len(equations))
    right = equations[at].value
    near = [right + off for off in (-10, -2, -1, 1, 2, 10) if right + off > 0]
    near = near if right.denominator == 1 else []
    return (at, write_number(rng.choice(near))) if near else None


def undone(equation: Equation) -> str | None:
    """Return an equation of two numbers undone from its value, `120/3=40` for `40*3=120`; None for others."""
    match = re.fullmatch(r"([\d.]+) ?([-+*/]) ?([\d.]+)", equation.left)
    if match is None or not equation.value or not Fraction(match[3]):
        return None
    sign = {"+": "-", "-": "+", "*": "/", "/": "*"}[match[2]]
    return f"{write_number(equation.value)}{sign}{match[3]}={write_number(Fraction(match[1]))}"


def _check(equation: Equation, rng: Random) -> str:
    """A check of a right step: the equation again, or undone."""
    written = undone(equation)
    if written is not None and rng.random() < 0.5:
        opening = rng.choice(CHECKING_BACK)
    else:
        written = without_units(equation)
        opening = rng.choice(CHECKING)
    return f"{opening}: {written}. {rng.choice(AGREED)}"


def _mend(equation: Equation, wrong: str, rng: Random) -> str:
    """A check that finds the right value."""
    opening = rng.choice(CHECKING)
    return f"{opening}: {without_units(equation)}, not {wrong}. So it is {write_number(equation.value)}."


def _spans(writer: _Writer) -> tuple[tuple[int, int], ...]:
    """Where the wrong values stand in the trace's text."""
    starts, at = [], 0
    for step in writer.steps:
        starts.append(at)
        at += len(step) + len(STEP_BREAK)
    found = []
    for number, wrong in writer.wrong:
        match = re.search(rf"=\s*\$?({re.escape(wrong)})(?![\d])", writer.steps[number])
        if match is not None:
            found.append((starts[number] + match.start(1), starts[number] + match.end(1)))
    return tuple(found)


def _sentences(question: str) -> list[str]:
    """Return the sentences of a question, the one that asks last."""
    sentences = [part for part in re.split(r"(?<=[.?!])\s+(?=[A-Z])", " ".join(question.split())) if part]
    asked = [part for part in sentences if part.endswith("?")] or sentences[-1:]
    return [part for part in sentences if part != asked[-1]] + [asked[-1]]


def _ended(line: str) -> str:
    return line if line.endswith((".", "!", "?")) else line + "."


def _lower(body: str) -> str:
    """Lower the first letter of a word that cannot be a name."""
    word = re.match(r"[A-Z][a-z]*", body)
    return body[0].lower() + body[1:] if word is not None and word[0] in LOWERED else body
