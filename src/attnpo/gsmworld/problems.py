"""Grade-school word problems in English, endless by seed: the templates of reasoning-gym's `gsm_symbolic`.

A template is a generator of reasoning-gym, known by its number there. Those whose worked solution reads as true
equations serve; some of them are kept away from training by number, and of the others' problems an eighth by a hash.
"""

from __future__ import annotations

import functools
import hashlib
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from random import Random
from typing import Any, Literal

from attnpo.errors import ConfigError, install_command
from attnpo.gsmworld.equations import find_equations, find_numbers, to_number, write_number

Split = Literal["train", "heldout", "unseen"]
Grade = Literal["easy", "all"]

EASY = (6, 10, 16, 20, 31, 34, 39, 43, 48, 54, 57, 62, 72, 78)
"""Templates of one to three equations with short questions."""
EASY_UNSEEN = (4, 24, 30, 58, 69, 95)
EASY_LARGEST = 100
"""Largest number in an easy problem's solution, all of them whole."""
OTHERS = (
    *(0, 2, 3, 5, 7, 8, 9, 11, 12, 13, 14, 15, 17, 19, 21, 23, 25, 26, 27, 29, 33, 36, 40, 41, 42, 44, 45, 46, 47, 49),
    *(51, 52, 56, 59, 64, 67, 68, 71, 73, 75, 80, 81, 88, 89, 91, 92, 93, 96, 99),
)
OTHERS_UNSEEN = (28, 50, 70)
TEMPLATES: Mapping[Grade, Mapping[Split, tuple[int, ...]]] = {
    "easy": {"train": EASY, "heldout": EASY, "unseen": EASY_UNSEEN},
    "all": {
        "train": (*EASY, *OTHERS),
        "heldout": (*EASY, *OTHERS),
        "unseen": (*EASY_UNSEEN, *OTHERS_UNSEEN),
    },
}
"""Grade and split → the templates that its problems are of."""
HELDOUT_SHARE = 1 / 8
INSTRUCTION = "\nPlease reason step by step, and put your final answer within \\boxed{}."

_TRIES = 2000


@dataclass(frozen=True)
class Problem:
    """A question with its worked solution.

    Attributes:
        id: hash of the question.
        question: the question in English.
        solution: the exact answer in figures.
        worked: the worked solution, a line a step, every equation in it true.
        template: number of the template.
    """

    id: str
    question: str
    solution: str
    worked: str
    template: int

    @property
    def difficulty(self) -> int:
        """Number of equations of the worked solution."""
        return len(find_equations(self.worked))


def generate_problems(split: Split, n: int, seed: int = 0, grade: Grade = "easy") -> list[Problem]:
    """Return `n` different problems of a split, spread evenly over its templates, in random order.

    Raises:
        ConfigError: an unknown split or grade, a negative n, more problems than the templates have, or reasoning-gym
            is not installed.
    """
    if grade not in TEMPLATES:
        raise ConfigError(f"grade: expected 'easy' or 'all', got {grade!r}")
    if split not in TEMPLATES[grade]:
        raise ConfigError(f"split: expected 'train', 'heldout' or 'unseen', got {split!r}")
    if n < 0:
        raise ConfigError(f"n: expected a number of problems of at least 0, got {n}")
    rng = Random(f"attnpo.gsmworld/{grade}/{split}/{seed}")
    templates = TEMPLATES[grade][split]
    streams = [_different(template, split, grade, Random(rng.getrandbits(64))) for template in templates]
    problems: list[Problem] = []
    while len(problems) < n:
        if not streams:
            raise ConfigError(f"n: the {grade} templates have {len(problems)} different {split} problems, not {n}")
        for stream in tuple(streams):
            problem = next(stream, None)
            if problem is None:
                streams.remove(stream)
            else:
                problems.append(problem)
    problems = problems[:n]
    rng.shuffle(problems)
    return problems


def split_of(template: int, numbers: Sequence[Fraction]) -> Split:
    """Return the split that a problem of a template belongs to, by its numbers: renaming never crosses the border."""
    if template in EASY_UNSEEN or template in OTHERS_UNSEEN:
        return "unseen"
    digest = hashlib.blake2b(f"{template}:{','.join(map(str, numbers))}".encode(), digest_size=8).digest()
    return "heldout" if int.from_bytes(digest, "big") < HELDOUT_SHARE * 2**64 else "train"


def columns(problems: Sequence[Problem]) -> dict[str, list[Any]]:
    """Return the problems as data-set columns."""
    return {
        "prompt": [prompt(problem.question) for problem in problems],
        "solution": [problem.solution for problem in problems],
        "problem_id": [problem.id for problem in problems],
        "difficulty": [problem.difficulty for problem in problems],
        "worked_solution": [problem.worked for problem in problems],
        "template": [problem.template for problem in problems],
    }


def prompt(question: str) -> list[dict[str, str]]:
    """Return the chat messages that put a question, as R1's users are told to."""
    return [{"role": "user", "content": question + INSTRUCTION}]


def _different(template: int, split: Split, grade: Grade, rng: Random) -> Iterator[Problem]:
    """Yield different problems of a template that belong to a split, until no new one is found."""
    seen: set[str] = set()
    misses = 0
    while misses < _TRIES:
        problem = _draw(template, rng)
        misses += 1
        if problem is None or problem.question in seen or split_of(template, find_numbers(problem.question)) != split:
            continue
        if grade == "easy" and not _is_easy(problem):
            continue
        seen.add(problem.question)
        misses = 0
        yield problem


def _draw(template: int, rng: Random) -> Problem | None:
    """Return a problem of a template, None where its worked solution does not read as true equations."""
    drawn = _generators()[template](rng, 1.0)
    question = " ".join(drawn["question"].split())
    worked = drawn["metadata"]["answer_cot"].partition("####")[0].strip()
    worked = re.sub(r"(?<=\d)\.0+(?!\d)", "", worked)
    if not re.fullmatch(r"\d+(\.\d+)?", str(drawn["answer"])) or not reads_true(
        worked, to_number(str(drawn["answer"]))
    ):
        return None
    identity = hashlib.blake2b(question.encode(), digest_size=6).hexdigest()
    return Problem(identity, question, write_number(to_number(str(drawn["answer"]))), worked, template)


def reads_true(worked: str, answer: Fraction) -> bool:
    """Whether every equals sign of a worked solution is a true equation, and the last one comes to the answer."""
    equations = find_equations(worked)
    return (
        bool(equations)
        and len(equations) == worked.count("=")
        and all(equation.right for equation in equations)
        and equations[-1].value == answer
    )


def _is_easy(problem: Problem) -> bool:
    numbers = [number for equation in find_equations(problem.worked) for number in equation.numbers]
    return all(number.denominator == 1 and number <= EASY_LARGEST for number in numbers)


@functools.cache
def _generators() -> Mapping[int, Callable[[Random, float], dict[str, Any]]]:
    """Return reasoning-gym's generators by number."""
    try:
        import reasoning_gym
    except ImportError as error:
        raise ConfigError(
            f"gsmworld: reasoning-gym, which makes its problems, is not installed; {install_command('reasoning-gym')}"
        ) from error
    return reasoning_gym.create_dataset("gsm_symbolic", size=1, seed=0).generators
