"""Problems of the small world: a chain of arithmetic facts about who has how much, with distractor facts."""

from __future__ import annotations

import hashlib
import itertools
import random
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from attnpo.errors import ConfigError

Split = Literal["train", "heldout"]

NAMES = ("Ann", "Bob", "Cal", "Dan", "Eve", "Gus", "Ivy", "Kim", "Leo", "Mia", "Pam", "Tom")
UNITS = ("coins", "apples", "books", "cards", "shells", "stamps")

DISTRACTOR_VERBS = ("sold", "paid")
"""What distractor facts say that somebody did; facts that an answer can depend on say `has`."""

DIFFICULTIES = (1, 2, 3, 4, 5)
START_VALUES = (2, 15)
"""Smallest and largest value a chain starts from (inclusive)."""
OPERANDS = (1, 5)
"""Smallest and largest number added or taken away in a fact (inclusive)."""
VALUES = (1, 20)
"""Smallest and largest value anybody may have (inclusive)."""
MAX_DIFFICULTY = 9
HELDOUT_SHARE = 1 / 8


@dataclass(frozen=True)
class Fact:
    """`name` has (sold, paid) `amount`, or `amount` more (negative: fewer) than `base` has."""

    name: str
    base: str | None
    amount: int
    verb: str = "has"

    def text(self, unit: str) -> str:
        """The sentence that states the fact in a question."""
        if self.base is None:
            return f"{self.name} {self.verb} {self.amount} {unit}."
        direction = "more" if self.amount > 0 else "fewer"
        return f"{self.name} {self.verb} {abs(self.amount)} {direction} than {self.base}."


@dataclass(frozen=True)
class Problem:
    """A question with its exact answer; `difficulty` is the number of dependent steps it takes."""

    id: str
    question: str
    solution: str
    difficulty: int
    facts: tuple[Fact, ...]
    target: str
    unit: str

    @property
    def values(self) -> dict[str, int]:
        """What everybody in the problem has, sold or paid."""
        return resolve(self.facts)

    @property
    def chain(self) -> tuple[str, ...]:
        """The names that the answer depends on, from the given start to the target."""
        return dependencies(self.facts, self.target)


@dataclass(frozen=True)
class ParsedQuestion:
    """What can be read off a question's text; `target` is None if nobody is asked about."""

    facts: tuple[Fact, ...]
    target: str | None

    @property
    def held(self) -> tuple[Fact, ...]:
        """The facts about what somebody has; the others are distractors."""
        return tuple(fact for fact in self.facts if fact.verb == "has")

    @property
    def values(self) -> dict[str, int]:
        """What everybody has whose value the facts determine."""
        return resolve(self.held)

    @property
    def needed(self) -> frozenset[str]:
        """The names that the answer depends on (empty without a target)."""
        return frozenset(dependencies(self.held, self.target)) if self.target else frozenset()


def resolve(facts: Sequence[Fact]) -> dict[str, int]:
    """Values of all names that the facts, in any order, determine; a name's first fact counts."""
    by_name: dict[str, Fact] = {}
    for fact in facts:
        by_name.setdefault(fact.name, fact)
    values: dict[str, int] = {}
    progress = True
    while progress:
        progress = False
        for name, fact in by_name.items():
            if name not in values and (fact.base is None or fact.base in values):
                values[name] = fact.amount + (0 if fact.base is None else values[fact.base])
                progress = True
    return values


def dependencies(facts: Sequence[Fact], target: str) -> tuple[str, ...]:
    """The names that `target` depends on, itself included, in the order in which they can be worked out."""
    by_name: dict[str, Fact] = {}
    for fact in facts:
        by_name.setdefault(fact.name, fact)
    chain: list[str] = []
    name: str | None = target
    while name is not None and name in by_name and name not in chain:
        chain.append(name)
        name = by_name[name].base
    return tuple(reversed(chain))


_FACT = re.compile(
    rf"\b([A-Z][a-z]+) (has|{'|'.join(DISTRACTOR_VERBS)}) ([0-9]{{1,9}})"
    r"(?: (more|fewer) than ([A-Z][a-z]+)| (?!more\b|fewer\b)[a-z]+)\."
)
_TARGET = re.compile(r"\bHow many [a-z]+ does ([A-Z][a-z]+) have\?")


def parse_question(question: str) -> ParsedQuestion:
    """Read the facts and the name asked about off a question's text; never raises."""
    facts = []
    for name, verb, amount, direction, base in _FACT.findall(question):
        sign = -1 if direction == "fewer" else 1
        facts.append(Fact(name, base or None, sign * int(amount), verb))
    target = _TARGET.search(question)
    return ParsedQuestion(tuple(facts), target.group(1) if target else None)


def canonical(facts: Sequence[Fact], target: str) -> str:
    """The problem up to renaming: two problems that differ only in names and unit share this string."""
    index: dict[str, int] = {}
    for fact in facts:
        index.setdefault(fact.name, len(index))
    rows = [f"{index[f.name]}{f.verb[0]}:{'' if f.base is None else index[f.base]}:{f.amount}" for f in facts]
    return ";".join(rows) + f"?{index[target]}"


def split_of(facts: Sequence[Fact], target: str) -> Split:
    """The split a problem belongs to, by a hash of its canonical form: renaming never crosses the border."""
    digest = hashlib.blake2b(canonical(facts, target).encode(), digest_size=8).digest()
    return "heldout" if int.from_bytes(digest, "big") < HELDOUT_SHARE * 2**64 else "train"


def _step(rng: random.Random, value: int) -> int:
    """A non-zero amount that keeps the value in range."""
    low, high = OPERANDS
    choices = [s * k for k in range(low, high + 1) for s in (1, -1) if VALUES[0] <= value + s * k <= VALUES[1]]
    return rng.choice(choices)


def _draw(rng: random.Random, difficulty: int) -> tuple[tuple[Fact, ...], str, str]:
    """One random problem of a difficulty: its facts, target and unit."""
    distractors = rng.choice((0, 1, 1, 2))
    names = rng.sample(NAMES, difficulty + 1 + distractors)
    unit = rng.choice(UNITS)
    chain, others = names[: difficulty + 1], names[difficulty + 1 :]
    value = rng.randint(*START_VALUES)
    facts = [Fact(chain[0], None, value)]
    values = {chain[0]: value}
    for previous, name in itertools.pairwise(chain):
        amount = _step(rng, values[previous])
        facts.append(Fact(name, previous, amount))
        values[name] = values[previous] + amount
    for name in others:
        if rng.random() < 0.35:
            facts.insert(
                rng.randint(0, len(facts)), Fact(name, None, rng.randint(*START_VALUES), rng.choice(DISTRACTOR_VERBS))
            )
        else:
            base = rng.choice(chain)
            after = next(i for i, fact in enumerate(facts) if fact.name == base) + 1
            facts.insert(
                rng.randint(after, len(facts)), Fact(name, base, _step(rng, values[base]), rng.choice(DISTRACTOR_VERBS))
            )
    return tuple(facts), chain[-1], unit


def generate_problems(split: Split, n: int, seed: int = 0, difficulties: Sequence[int] = DIFFICULTIES) -> list[Problem]:
    """`n` different problems of a split, spread evenly over `difficulties`, in random order.

    Raises:
        ConfigError: an unknown split, a negative n or a difficulty outside 1…MAX_DIFFICULTY.
    """
    if split not in ("train", "heldout"):
        raise ConfigError(f"split: expected 'train' or 'heldout', got {split!r}")
    if n < 0:
        raise ConfigError(f"n: expected a number of problems of at least 0, got {n}")
    if not difficulties or not all(1 <= d <= MAX_DIFFICULTY for d in difficulties):
        raise ConfigError(f"difficulties: expected 1 to {MAX_DIFFICULTY} each, got {list(difficulties)}")
    rng = random.Random(f"attnpo.tinyworld/{split}/{seed}")
    seen: set[str] = set()
    problems: list[Problem] = []
    while len(problems) < n:
        difficulty = difficulties[len(problems) % len(difficulties)]
        facts, target, unit = _draw(rng, difficulty)
        sentences = [*(fact.text(unit) for fact in facts), f"How many {unit} does {target} have?"]
        question = "Suppose " + " ".join(sentences)
        if question in seen or split_of(facts, target) != split:
            continue
        seen.add(question)
        values = resolve(facts)
        identity = hashlib.blake2b(question.encode(), digest_size=6).hexdigest()
        problems.append(Problem(identity, question, str(values[target]), difficulty, facts, target, unit))
    rng.shuffle(problems)
    return problems


def columns(problems: Sequence[Problem]) -> Mapping[str, list]:
    """The problems as data-set columns: prompt (chat messages), solution, problem_id, difficulty."""
    return {
        "prompt": [[{"role": "user", "content": problem.question}] for problem in problems],
        "solution": [problem.solution for problem in problems],
        "problem_id": [problem.id for problem in problems],
        "difficulty": [problem.difficulty for problem in problems],
    }
