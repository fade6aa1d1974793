"""What a model of the small world loses by its shortcuts: without checks, and where steps are taken together.

    python -m attnpo.tinyworld.pretrain --output runs/pressure --mask_slips \\
        --style '{"slip": 0, "merge": 0.5, "merge_slip": 0.3, "merge_check": 0.4}'
    python benchmarks/pressure_world.py --model runs/pressure --output docs/results/pressure_world.md

Held-out problems, one response each, at temperature 1 or greedily (`--temperature 0`):

- as sampled, and with every word left out that a check begins with (the same random numbers);
- from the same place of a right trace: a step of the chain by itself, or together with the next one, up to the result.

- as sampled: how many of its sums hold, by how many numbers they have.

A step taken together holds where its result is what its terms come to, and is right where that is the value of the name
it gives it to.
"""

from __future__ import annotations

import argparse
import random
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from attnpo.models import find_model, load_model, load_tokenizer
from attnpo.output import write_atomically
from attnpo.sampling import Row as Drawn
from attnpo.sampling import SamplingParams, TransformersSampler
from attnpo.statistics import mean_interval, paired_difference_interval, ratio_interval
from attnpo.tables import NOTHING, Column, Row, Table
from attnpo.tinyworld import Problem, count_shortcuts, generate_problems
from attnpo.tinyworld.oracle import equations, merged_steps
from attnpo.tinyworld.survey import boxed_answer, paragraph_steps

CHECK_WORDS = (" double", " verify", " make", " checking", "Checking")
"""Words of the world that stand in checks alone."""


@dataclass(frozen=True)
class Drawer:
    """Draws responses of one model."""

    model: Any
    tokenizer: Any
    temperature: float = 1.0

    def prompt(self, problem: Problem, begun: str = "") -> list[int]:
        """Return what the model reads: the question, and a response that is begun."""
        chat = [{"role": "user", "content": problem.question}]
        text = self.tokenizer.apply_chat_template(chat, add_generation_prompt=True, tokenize=False)
        ids: list[int] = self.tokenizer(text + begun, add_special_tokens=False)["input_ids"]
        return ids

    def draw(self, problems: Sequence[Problem], begun: Sequence[str], without: Sequence[int] = ()) -> list[str]:
        """Return the responses, what they began with included."""
        extra = {"suppress_tokens": list(without)} if without else {}
        params = SamplingParams(max_new_tokens=384, temperature=self.temperature, top_p=1.0, seed=0, extra=extra)
        rows = [Drawn(i, self.prompt(p, text), i, 0) for i, (p, text) in enumerate(zip(problems, begun, strict=True))]
        drawn = dict(TransformersSampler(self.model, self.tokenizer, rows=256).stream(rows, params))
        said = [self.tokenizer.decode(drawn[i].ids, skip_special_tokens=True) for i in range(len(rows))]
        return [text + more for text, more in zip(begun, said, strict=True)]


def right(problems: Sequence[Problem], responses: Sequence[str]) -> list[float]:
    """Return 1 for each response whose boxed answer is right, else 0."""
    return [float(boxed_answer(said) == problem.solution) for problem, said in zip(problems, responses, strict=True)]


def share(pairs: Sequence[tuple[int, int]]) -> str:
    """Return the share of all, in percent, of pairs (how many, of how many); nothing where there are none."""
    many, of_many = [many for many, _ in pairs], [of for _, of in pairs]
    return ratio_interval(many, of_many).format(1, 100) if any(of_many) else NOTHING


def described(drawer: Drawer, name: str, problems: Sequence[Problem], responses: Sequence[str]) -> Row:
    """Return a row: accuracy, tokens, and what `count_shortcuts` counts."""
    counts: list[dict[str, Any]] = [
        count_shortcuts(problem.question, said, paragraph_steps(said))
        for problem, said in zip(problems, responses, strict=True)
    ]
    lengths = [len(drawer.tokenizer(said, add_special_tokens=False)["input_ids"]) for said in responses]
    merged = [
        step
        for problem, said in zip(problems, responses, strict=True)
        for step in merged_steps(problem.question, said, paragraph_steps(said))
    ]
    mended = [count["slips_mended"] for count in counts]
    cells = (
        mean_interval(right(problems, responses)).format(1, 100),
        f"{sum(lengths) / len(lengths):.1f}",
        f"{sum(count['checks'] for count in counts) / len(counts):.2f}",
        f"{len(merged) / len(counts):.2f}",
        share([(step.holds, 1) for step in merged]),
        share([(step.right, 1) for step in merged]),
        f"{sum(of for _, of in mended) / len(counts):.2f}",
        share(mended),
    )
    return Row(name, cells)


def sums(responses: Sequence[str]) -> Table:
    """Return how many of the equations of responses hold, by how many numbers they add and subtract."""
    found = [equations(said) for said in responses]
    rows = []
    for numbers in sorted({equation.numbers for of_one in found for equation in of_one}):
        holds = [[equation.holds for equation in of_one if equation.numbers == numbers] for of_one in found]
        counts = [(sum(of_one), len(of_one)) for of_one in holds]
        rows.append(Row(str(numbers), (str(sum(of for _, of in counts)), share(counts))))
    return Table((Column("numbers in a sum"), Column("sums"), Column("hold, %")), tuple(rows))


def forks(problems: Sequence[Problem], seed: int, name_last: bool) -> tuple[list[Problem], list[str], list[str]]:
    """Return problems with two beginnings each: up to a result of one step of the chain, or of it and the next one.

    With `name_last` the latter names whom it is about behind the result, as traces of such a style do.
    """
    rng = random.Random(seed)
    found, singly, together = [], [], []
    for problem in problems:
        facts = [
            (fact.name, fact.base, fact.amount)
            for fact in problem.facts
            if fact.base is not None and fact.name in problem.chain
        ]
        if len(facts) < 2:
            continue
        at = rng.randrange(len(facts) - 1)
        values = problem.values
        steps = [f"So {name} has {values[base]}{more:+d}={values[name]}.\n\n" for name, base, more in facts[:at]]
        (first, base, more), (second, _, further) = facts[at : at + 2]
        asked = f"{values[base]}{more:+d}"
        found.append(problem)
        singly.append("".join(steps) + f"Then {first} has {asked}=")
        together.append("".join(steps) + f"Then {'' if name_last else f'{second} has '}{asked}{further:+d}=")
    return found, singly, together


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="tinyworld", help="model of the small world (tinyworld)")
    parser.add_argument("--problems", type=int, default=1000, help="held-out problems (1000)")
    parser.add_argument("--temperature", type=float, default=1.0, help="of sampling; 0 is greedy (1)")
    parser.add_argument("--name_last", action="store_true", help="the model was made with merge_name_last")
    parser.add_argument("--seed", type=int, default=0, help="seed of problems and places (0)")
    parser.add_argument("--output", type=Path, help="file of the table; printed alone without")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    source = find_model(arguments.model)
    drawer = Drawer(load_model(source, dtype="float32", device="cpu"), load_tokenizer(source), arguments.temperature)
    problems = generate_problems("heldout", arguments.problems, arguments.seed)
    without = [id_ for word in CHECK_WORDS for id_ in drawer.tokenizer(word, add_special_tokens=False)["input_ids"]]
    if len(without) != len(CHECK_WORDS):
        parser.error(f"--model {arguments.model}: its tokenizer is not the small world's; give a model of that world")
    nothing = [""] * len(problems)
    free, unchecked = drawer.draw(problems, nothing), drawer.draw(problems, nothing, without)
    where, singly, together = forks(problems, arguments.seed, arguments.name_last)
    alone, merged = drawer.draw(where, singly), drawer.draw(where, together)
    rows = [
        described(drawer, "as sampled", problems, free),
        described(drawer, "without checks", problems, unchecked),
        described(drawer, "a step by itself", where, alone),
        described(drawer, "the same with the next one", where, merged),
    ]
    head = ("", "right, %", "tokens", "checks", "merged steps", "hold, %", "right, %", "wrong values", "mended, %")
    checks = paired_difference_interval(right(problems, free), right(problems, unchecked))
    steps = paired_difference_interval(right(where, alone), right(where, merged))
    said = f"Without checks: {checks.format(1, 100)} points. A step taken together with the next: "
    table = Table(tuple(map(Column, head)), tuple(rows)).markdown()
    text = f"{table}\n\n{said}{steps.format(1, 100)} points.\n\n{sums(free).markdown()}\n"
    print(text)
    if arguments.output is not None:
        command = f"python benchmarks/pressure_world.py --model {arguments.model} --problems {arguments.problems}"
        command += " --name_last" * arguments.name_last
        command += f" --temperature {arguments.temperature:g} --seed {arguments.seed}"
        write_atomically(arguments.output, f"Written by `{command}`.\n\n{text}")


if __name__ == "__main__":
    main()
