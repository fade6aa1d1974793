"""How often verifiers err on real answers written differently, and how many answers a second they verify.

    python benchmarks/verification.py [--data FOLDER] [--workers N] [--output docs/results/bench_verification.json]

Every distinct reference answer of the six math sets and of GSM8K's test split is written in other ways that keep its
value (a refusal is a false negative) and in ways that change it (a pass is a false positive); the rules are in
`tests/support/rewritings.py`. A table of awkward answers of their own (`tests/support/awkward_answers.py`) is counted
with them. The same pairs go through `MathVerifier` and math-verify alone. For majority votes: how many equal answers
share a normal form, and how many different ones do. Speed is measured with 1 and with N workers, after a first batch
that starts them.
"""

from __future__ import annotations

import argparse
import json
import logging
import random
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pandas
from rich.console import Console
from rich.table import Table

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "support"))

from awkward_answers import AWKWARD
from rewritings import equivalents, near_misses, plain

from attnpo.verification import MathVerifier, Verifier, build_verifier, reference_answer
from attnpo.verification.code import CodeTest, CodeTests
from attnpo.verification.pool import WorkerPool

SETS = ["math_4", "olympiadbench_4", "aime2024_16", "aime2025_16", "amc_16", "gsm8k_4"]
SECONDS = 10.0
SHOWN = 5
Case = tuple[str, str, str]
"""(rule, reference, text)."""


def plain_math_verify(answer: str, reference: str) -> bool:
    """What math-verify decides without this package; runs in a worker."""
    from math_verify import parse, verify

    logging.getLogger("math_verify").setLevel(logging.ERROR)
    return verify(parse(reference, parsing_timeout=None), parse(answer, parsing_timeout=None), timeout_seconds=None)


def references(data: Path) -> dict[str, list[str]]:
    found = {}
    for name in SETS:
        rows = pandas.read_parquet(data / f"{name}.parquet", columns=["reward_model"])["reward_model"]
        found[name] = sorted({row["ground_truth"] for row in rows})
    lines = (data / "gsm8k_test.jsonl").read_text(encoding="utf-8").splitlines()
    found["gsm8k_test"] = sorted({reference_answer(json.loads(line)["answer"]) for line in lines})
    return found


def rewrite(sets: dict[str, list[str]], rewritings: Callable[[str], list[tuple[str, str]]]) -> list[Case]:
    distinct = dict.fromkeys(reference for answers in sets.values() for reference in answers)
    return [(rule, reference, text) for reference in distinct for rule, text in rewritings(plain(reference))]


def awkward(same: bool) -> list[Case]:
    return [
        (f"awkward: {kind.replace('_', ' ')}", reference, text)
        for kind, answers in AWKWARD.items()
        for text, reference, equal in answers
        if equal is same
    ]


def response(text: str) -> str:
    return rf"<think>x</think>The answer is $\boxed{{{text}}}$."


def boxed(text: str) -> str:
    return rf"\boxed{{{text}}}"


def rates(cases: Sequence[Case], verdicts: Sequence[bool], wanted: bool) -> dict[str, Any]:
    asked = Counter(rule for rule, _, _ in cases)
    wrong = defaultdict(list)
    for case, verdict in zip(cases, verdicts, strict=True):
        if verdict != wanted:
            wrong[case[0]].append(case[1:])
    return {
        "cases": len(cases),
        "wrong": sum(map(len, wrong.values())),
        "rate": sum(map(len, wrong.values())) / len(cases),
        "rules": {rule: {"cases": asked[rule], "wrong": len(wrong[rule])} for rule in asked},
        "examples": {rule: examples[:SHOWN] for rule, examples in wrong.items()},
    }


def measure_errors(same: Sequence[Case], other: Sequence[Case], workers: int) -> dict[str, Any]:
    results: dict[str, Any] = {}
    pool = WorkerPool("verification:plain_math_verify", SECONDS, workers, 4 * 2**30)
    with MathVerifier(SECONDS, workers) as verifier:
        for name, cases, wanted in (("false_negatives", same, True), ("false_positives", other, False)):
            pairs = [(boxed(text), boxed(reference)) for _, reference, text in cases]
            answers, solutions = [response(text) for _, _, text in cases], [reference for _, reference, _ in cases]
            results[name] = {
                "math-verify alone": rates(cases, pool.judge(pairs), wanted),
                "MathVerifier": rates(cases, verifier.verify(answers, solutions), wanted),
            }
            forms = verifier.answers(answers)
            own = verifier.answers([response(plain(reference)) for reference in solutions])
            shared = sum(form == reference for form, reference in zip(forms, own, strict=True))
            results[name]["share a normal form"] = shared / len(cases)
        results["interrupted"] = {"math-verify alone": pool.interrupted, "MathVerifier": verifier.pool.interrupted}
    pool.close()
    return results


def speed_cases(sets: dict[str, list[str]]) -> dict[str, tuple[str, list[str], list[str]]]:
    """Return name → (verifier, responses, solutions); half of the responses are right, all pairs differ."""
    latex = [
        answer for name in ("math_4", "olympiadbench_4") for answer in sets[name] if not answer.lstrip("-").isdigit()
    ]
    integers = [answer for answer in sets["gsm8k_test"] if answer.isdigit()]
    adding = CodeTests(
        kind="stdin", tests=[CodeTest(input=f"{n} {n + 1}", output=str(2 * n + 1)) for n in range(5)]
    ).model_dump_json()
    programs = [f"a, b = map(int, input().split())  # {n}\nprint(a + b)" for n in range(40)]

    def mixed(answers: list[str]) -> tuple[list[str], list[str]]:
        others = answers[1:] + answers[:1]
        return [response(plain(a)) for a in answers + others], answers * 2

    return {
        "math, LaTeX": ("math", *mixed(latex)),
        "math, integers": ("math", *mixed(integers)),
        "exact": ("exact", *mixed(integers)),
        "choice": ("choice", *([response(letter) for letter in "ABCD"] * 250, list("ABDC") * 250)),
        "code, 5 tests each": (
            "code",
            [f"</think>\n```python\n{program}\n```\n" for program in programs],
            [adding] * len(programs),
        ),
    }


def answers_per_second(verifier: Verifier, responses: Sequence[str], solutions: Sequence[str]) -> float:
    verifier.verify(responses[:8], solutions[:8])
    start = time.perf_counter()
    verifier.verify(responses, solutions)
    return len(responses) / (time.perf_counter() - start)


def measure_speed(sets: dict[str, list[str]], workers: int) -> list[dict[str, Any]]:
    rows = []
    for name, (kind, responses, solutions) in speed_cases(sets).items():
        order = random.Random(0).sample(range(len(responses)), len(responses))
        responses, solutions = [responses[n] for n in order], [solutions[n] for n in order]
        for count in sorted({1, workers}) if kind in ("math", "code") else [1]:
            with build_verifier(kind, SECONDS, count) as verifier:
                rate = answers_per_second(verifier, responses, solutions)
            rows.append({"what": name, "workers": count, "answers": len(responses), "answers_per_second": rate})
    return rows


def print_errors(console: Console, name: str, result: dict[str, Any]) -> None:
    alone, ours = result["math-verify alone"], result["MathVerifier"]
    table = Table(title=f"{name.replace('_', ' ')}: wrong verdicts")
    for heading in ("rule", "cases", "math-verify alone", "MathVerifier"):
        table.add_column(heading, justify="left" if heading == "rule" else "right")
    for rule, row in ours["rules"].items():
        table.add_row(rule, str(row["cases"]), str(alone["rules"][rule]["wrong"]), str(row["wrong"]))
    totals = [f"{side['wrong']} ({side['rate']:.2%})" for side in (alone, ours)]
    table.add_section()
    table.add_row("all", str(ours["cases"]), *totals)
    console.print(table)
    console.print(f"share a normal form with the reference: {result['share a normal form']:.2%}")
    for rule, examples in ours["examples"].items():
        console.print(f"  {rule}: {examples}", markup=False)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--data", type=Path, default=Path(__file__).parents[2] / "shared" / "data", help="folder of the sets"
    )
    parser.add_argument("--workers", type=int, default=2, help="worker processes")
    parser.add_argument("--output", "--json", type=Path, help="write the figures to this file")
    arguments = parser.parse_args()
    console = Console()
    sets = references(arguments.data)
    same = rewrite(sets, equivalents) + awkward(True)
    other = rewrite(sets, near_misses) + awkward(False)
    results = {
        "versions": {name: version(name) for name in ("math-verify", "latex2sympy2-extended", "sympy")},
        "references": {name: len(answers) for name, answers in sets.items()},
        **measure_errors(same, other, arguments.workers),
        "speed": measure_speed(sets, arguments.workers),
    }
    print_errors(console, "false_negatives", results["false_negatives"])
    print_errors(console, "false_positives", results["false_positives"])
    console.print(f"interrupted after {SECONDS:g} s: {results['interrupted']}")
    table = Table(title="Speed")
    for heading in ("verifier", "workers", "answers", "answers/s"):
        table.add_column(heading, justify="left" if heading == "verifier" else "right")
    for row in results["speed"]:
        table.add_row(row["what"], str(row["workers"]), str(row["answers"]), f"{row['answers_per_second']:,.0f}")
    console.print(table)
    if arguments.output:
        arguments.output.write_text(json.dumps(results, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
