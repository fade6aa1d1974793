"""How well the verifier over prefixes finds the first sentence that reveals the answer (LC-R1, DECS, DEPO).

Small world: correct responses of a rollouts file against the oracle, whose truth is the step that says first, or first
after a wrong value, what the one asked about has. GSM8K: the worked solutions, whose truth is the last line that works
something out.

    python benchmarks/first_answer.py --rollouts runs/study/base/rollouts.jsonl --gsm8k ../shared/data/gsm8k_test.jsonl
"""

from __future__ import annotations

import argparse
import json
import re
import time
from collections import Counter
from pathlib import Path

from attnpo.credit.first_answer import FirstAnswer, Trace, first_answers
from attnpo.output import write_atomically
from attnpo.rollouts import prompt_text, read_rollouts
from attnpo.tinyworld.oracle import describe_steps
from attnpo.tinyworld.problems import parse_question
from attnpo.verification import ExactVerifier, MathVerifier


def small_world(path: Path) -> dict[str, float]:
    """Compare with the oracle on the correct responses of a file."""
    rollouts = [rollout for rollout in read_rollouts(path) if rollout.correct and rollout.steps]
    traces, truths = [], []
    for rollout in rollouts:
        question, steps = prompt_text(rollout.prompt), [step.chars for step in rollout.steps]
        described = describe_steps(question, rollout.response, steps)
        target = parse_question(question).target
        truths.append(next((k for k, step in enumerate(described) if target in step.establishes), None))
        think = (steps[0][0], steps[-1][1])
        traces.append(Trace(question, rollout.solution, rollout.response, think, steps, range(len(rollout.response))))
    begun = time.perf_counter()
    found = first_answers(traces, ExactVerifier().verify)
    return summary(found, truths, time.perf_counter() - begun)


def gsm8k(path: Path) -> dict[str, float]:
    """Compare with the last line that works something out in every solution of a file."""
    traces, truths = [], []
    for line in path.read_text(encoding="utf-8").splitlines():
        row = json.loads(line)
        text = re.sub(r"<<[^>]*>>", "", row["answer"].rpartition("####")[0].strip())
        ends = [match.end() for match in re.finditer(r"\n|\Z", text)]
        steps = [span for span in zip([0, *ends[:-1]], ends, strict=True) if span[0] < span[1]]
        worked = [number for number, span in enumerate(steps) if "=" in text[slice(*span)]]
        truths.append(worked[-1] if worked else None)
        traces.append(Trace(row["question"], row["answer"], text, (0, len(text)), steps, range(len(text))))
    begun = time.perf_counter()
    with MathVerifier() as verifier:
        found = first_answers(traces, verifier.verify)
    return summary(found, truths, time.perf_counter() - begun)


def summary(found: list[FirstAnswer | None], truths: list[int | None], seconds: float) -> dict[str, float]:
    """Count agreements by step; precision over what was found, recall over what there is to find."""
    counts = Counter(
        "none to find" if truth is None and answer is None
        else "found where there is none" if truth is None
        else "missed" if answer is None
        else "right" if answer.step == truth
        else "too early" if answer.step < truth
        else "too late"
        for answer, truth in zip(found, truths, strict=True)
    )  # fmt: skip
    num_found, num_true = (sum(value is not None for value in values) for values in (found, truths))
    return {
        "responses": len(found),
        **dict(sorted(counts.items())),
        "precision": counts["right"] / max(num_found, 1),
        "recall": counts["right"] / max(num_true, 1),
        "responses_a_second": len(found) / seconds,
    }


def main() -> None:
    """Measure what is given; print it, and write it where asked."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rollouts", type=Path, help="rollouts of the small world")
    parser.add_argument("--gsm8k", type=Path, help="GSM8K as JSON Lines")
    parser.add_argument("--output", type=Path, help="JSON file to write")
    arguments = parser.parse_args()
    results = {}
    if arguments.rollouts:
        results["small_world"] = small_world(arguments.rollouts)
    if arguments.gsm8k:
        results["gsm8k"] = gsm8k(arguments.gsm8k)
    for name, values in results.items():
        print(name, ", ".join(f"{key} {value:.4g}" for key, value in values.items()))
    if arguments.output:
        write_atomically(arguments.output, json.dumps(results, indent=2) + "\n")


if __name__ == "__main__":
    main()
