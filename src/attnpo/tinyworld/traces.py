"""Reference traces that overthink: right steps among checks, restatements and irrelevant quantities."""

from __future__ import annotations

import itertools
import random
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from attnpo.tinyworld.problems import NAMES, OPERANDS, Fact, Problem

STEP_BREAK = "\n\n"
THINK_END = "\n</think>\n\n"

PROGRESSION = ("Now,", "Then", "Next,", "So", "Okay,")
CONFUSED = ("Wait,", "Hmm,", "Alternatively,", "But", "Hold on,")
FILLERS = ("we know that", "I think that", "let me see,", "this means that")
CHECKS = ("let me double-check.", "let me verify.", "let me make sure.", "checking back,")
AGREED = (", yes.", ", right.", ".")


@dataclass(frozen=True)
class TraceStyle:
    """Probabilities with which a reference trace takes its detours, and its shortcuts: the shipped world has none."""

    slip: float = 0.13
    miscount: float = 1.0
    """Share of the slips that miscalculate; the others look in the wrong place."""
    check: float = 0.45
    check_again: float = 0.2
    distractor: float = 0.6
    restate_question: float = 0.45
    restate_given: float = 0.45
    restate_fact: float = 0.1
    last_check: float = 0.25
    summary: float = 0.15
    essential_confused: float = 0.36
    essential_progression: float = 0.46
    redundant_confused: float = 0.40
    redundant_progression: float = 0.37
    filler: float = 0.5
    merge: float = 0.0
    """Chance that a needed step is not taken by itself but together with the next one: `Cal has 5+3-2=6.`"""
    merge_slip: float = 0.0
    """Chance that the result of merged steps is wrong; the check that works it out part by part mends it."""
    merge_check: float = 0.0
    """Chance that right merged steps are checked, part by part."""
    merge_name_last: float = 0.0
    """Chance that merged steps name whom they are about behind the result: `5+3-2=6. So Cal has 6.`"""


@dataclass
class _Writer:
    """Collects the paragraphs of one trace."""

    problem: Problem
    rng: random.Random
    style: TraceStyle

    def __post_init__(self) -> None:
        self.steps: list[str] = []

    def say(self, body: str, *, essential: bool) -> None:
        """Add a step: an opener that both kinds share, then the body."""
        style, draw = self.style, self.rng.random()
        confused = style.essential_confused if essential else style.redundant_confused
        progression = style.essential_progression if essential else style.redundant_progression
        opener = ""
        if draw < confused:
            opener = self.rng.choice(CONFUSED) + " "
        elif draw < confused + progression:
            opener = self.rng.choice(PROGRESSION) + " "
            if not self.steps and (essential or self.rng.random() < 0.4):
                opener = "First, "
        elif body.startswith(NAMES) or body[0].isdigit():
            # No sentence starts with a name or a number, so that each is one token everywhere.
            opener = self.rng.choice(FILLERS) + " "
        text = opener + body
        self.steps.append(text[0].upper() + text[1:])

    def fill(self) -> str:
        """A filler that either kind of step may carry."""
        return self.rng.choice(FILLERS) + " " if self.rng.random() < self.style.filler else ""

    def given(self, fact: Fact) -> None:
        body = f"{self.fill()}{fact.name} {fact.verb} {fact.amount} {self.problem.unit}."
        self.say(body, essential=False)

    def restate(self, fact: Fact) -> None:
        self.say(self.fill() + fact.text(self.problem.unit), essential=False)

    def question(self) -> None:
        target, unit = self.problem.target, self.problem.unit
        body = self.rng.choice(
            (
                f"we want to know how many {unit} {target} has.",
                f"the question is how many {unit} {target} has.",
            )
        )
        self.say(body, essential=False)

    def derive(self, name: str, before: int, amount: int, result: int, *, essential: bool, verb: str = "has") -> None:
        """Work a value out; `essential` only chooses the opener."""
        sign = "+" if amount > 0 else "-"
        body = f"{self.fill()}{name} {verb} {before}{sign}{abs(amount)}={result}."
        self.say(body, essential=essential)

    def check(self, fact: Fact, before: int, result: int) -> bool:
        """Undo the step; repeats the value only where it mends it. Returns whether the step was right."""
        sign = "-" if fact.amount > 0 else "+"
        back = result - fact.amount
        right = back == before
        body = f"{self.rng.choice(CHECKS)} {result}{sign}{abs(fact.amount)}={back}"
        if right:
            self.say(body + self.rng.choice(AGREED), essential=False)
        else:
            self.say(f"{body}, not {before}. So {fact.name} has {before + fact.amount}.", essential=True)
        return right

    def merged(self, parts: Sequence[Fact], before: int, right: int) -> None:
        """Take several facts of the chain in one step; a wrong result is mended by a check, part by part."""
        style, name = self.style, parts[-1].name
        result = right
        if style.merge_slip and self.rng.random() < style.merge_slip:
            result = self.rng.choice([right + off for off in (-2, -1, 1, 2) if right + off >= 0])
        terms = "".join(f"{part.amount:+d}" for part in parts)
        name_last = style.merge_name_last and self.rng.random() < style.merge_name_last
        equation = f"{before}{terms}={result}"
        self.say(
            f"{self.fill()}{f'{equation}. So {name} has {result}' if name_last else f'{name} has {equation}'}.",
            essential=True,
        )
        if result == right and not (style.merge_check and self.rng.random() < style.merge_check):
            return
        equations, value = [], before
        for part in parts:
            equations.append(f"{value}{part.amount:+d}={value + part.amount}")
            value += part.amount
        body = f"{self.rng.choice(CHECKS)} {', '.join(equations)}"
        if result == right:
            self.say(body + self.rng.choice(AGREED), essential=False)
        else:
            self.say(f"{body}, not {result}. So {name} has {right}.", essential=True)

    def slip(self, fact: Fact, before: int) -> tuple[int, int, int]:
        """A wrong step: the value it starts from, the amount it adds, its result.

        Some miscalculate; the others look in the wrong place and take another's value or another amount, so that
        the check, which reads the question again, finds them.
        """
        values, right = self.problem.values, before + fact.amount
        steps = [(before, fact.amount, right + off) for off in (-2, -1, 1, 2)]
        if self.rng.random() >= self.style.miscount:
            if self.rng.random() < 0.5:
                earlier = itertools.takewhile(lambda other: other != fact, self.problem.facts)
                starts = {values[other.name] for other in earlier}
                steps = [(start, fact.amount, start + fact.amount) for start in sorted(starts)]
            else:
                amounts = range(OPERANDS[0], OPERANDS[1] + 1)
                steps = [(before, sign * a, before + sign * a) for a in amounts for sign in (1, -1)]
        lowest = max(0, fact.amount)
        steps = [step for step in steps if step[2] != right and step[2] >= lowest]
        return self.rng.choice(steps) if steps else (before, fact.amount, right)


def think_steps(problem: Problem, rng: random.Random, style: TraceStyle | None = None) -> tuple[list[str], set[str]]:
    """The steps of one reference trace, and the names that they pass over; a check follows every slip and mends it."""
    style = style or TraceStyle()
    writer = _Writer(problem, rng, style)
    values, chain = problem.values, problem.chain
    if rng.random() < style.restate_question:
        writer.question()
    given = [fact for fact in problem.facts if fact.base is None]
    if rng.random() < style.restate_given:
        writer.given(rng.choice(given))
    done: list[Fact] = []
    waiting: list[Fact] = []  # facts of the chain that the next step takes along
    merged: set[str] = set()
    for fact in problem.facts:
        if fact.base is None:
            continue
        needed = fact.name in chain
        if fact.base in merged and not needed:
            continue
        if not needed and rng.random() >= style.distractor:
            continue
        if needed and fact.name != problem.target and style.merge and rng.random() < style.merge:
            waiting.append(fact)
            merged.add(fact.name)
            continue
        if waiting and needed:
            writer.merged([*waiting, fact], values[waiting[0].base or ""], values[fact.name])
            waiting = []
            continue
        if rng.random() < style.restate_fact:
            writer.restate(fact)
        before, right = values[fact.base], values[fact.name]
        start, amount, result = before, fact.amount, right
        if needed and rng.random() < style.slip:
            start, amount, result = writer.slip(fact, before)
        writer.derive(fact.name, start, amount, result, essential=needed, verb=fact.verb)
        if result != right:
            writer.check(fact, before, result)
        chance = style.check if needed else style.check / 3
        while rng.random() < chance:
            writer.check(fact, before, right)
            chance = style.check_again
        if needed:
            done.append(fact)
    if rng.random() < style.last_check and done:
        fact = rng.choice(done)
        writer.check(fact, values[fact.base or ""], values[fact.name])
    if rng.random() < style.summary:
        writer.steps.append(f"Therefore, {problem.target} has {problem.solution} {problem.unit}.")
    return writer.steps, merged


def final_answer(problem: Problem, passed_over: Collection[str] = ()) -> str:
    """What follows the think part: every name that was worked out with its value, then the boxed answer."""
    values, left_out = problem.values, {*passed_over}
    facts = (fact for fact in problem.facts if fact.base is not None and fact.name not in left_out)
    derived = [fact.name for fact in facts if fact.name in problem.chain]
    stated = ", ".join(f"{name} has {values[name]}" for name in derived)
    return f"So {stated}. The answer is \\boxed{{{problem.solution}}}."


def reference_trace(problem: Problem, seed: int | random.Random = 0, style: TraceStyle | None = None) -> str:
    """A correct response that overthinks, as text after the generation prompt's `<think>` (Eq. 1's o)."""
    rng = seed if isinstance(seed, random.Random) else random.Random(f"{problem.id}/{seed}")
    steps, passed_over = think_steps(problem, rng, style)
    return STEP_BREAK.join(steps) + THINK_END + final_answer(problem, passed_over)
