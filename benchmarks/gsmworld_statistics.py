"""What the problems and traces of the English world are like, and what trivial rules know of their steps.

    python benchmarks/gsmworld_statistics.py --output docs/results/gsmworld_statistics.md
    python benchmarks/gsmworld_statistics.py --gsm8k ../shared/data/gsm8k_train.jsonl --problems 400

Rules are measured on pairs of an essential and a redundant step of one trace; the opener's odds are learnt on the first
half of the traces and measured on the second.
"""

from __future__ import annotations

import argparse
import json
import re
from collections import Counter
from collections.abc import Callable, Sequence
from itertools import product
from pathlib import Path
from statistics import mean

from attnpo.gsmworld import Trace, TraceStyle, generate_problems, label_steps, write_trace
from attnpo.gsmworld.equations import to_number
from attnpo.gsmworld.problems import TEMPLATES, reads_true
from attnpo.gsmworld.traces import plain_solution, solution_steps
from attnpo.segmentation import ParagraphStrategy, segment_text

# Question, worked solution, answer.
Worked = tuple[str, str, str]
# Place in the trace, characters, first word, label, numbers in it.
Step = tuple[int, int, str, str, int]

COLUMNS = ("problems", "templates", "steps of a solution", "characters of a question", "of a trace", "steps of a trace")
SHARES = ("essential, %", "redundant", "undecided", "redundant characters", "slips a trace")
NUMBER = re.compile(r"\d[\d,.]*")
RULES = ("longer first, %", "earlier first", "opener's odds", "more numbers first")
LEARNT = TraceStyle(slip=0.6)
"""What the cold start of the model that ships was taught (`--style`)."""


def read_steps(problem: Worked, trace: Trace) -> list[Step]:
    """Return the steps of a trace with the oracle's labels."""
    found = segment_text(trace.text, ParagraphStrategy(), in_think=True)
    spans = [span for span, _ in found.steps]
    labels = label_steps(problem[0], trace.text, spans)
    return [
        (i, stop - start, trace.text[start:stop].split()[0], label, len(NUMBER.findall(trace.text[start:stop])))
        for i, ((start, stop), label) in enumerate(zip(spans, labels, strict=True))
    ]


def ranked_right(score: Callable[[Step], float], traces: Sequence[Sequence[Step]]) -> float:
    """Return the share of pairs of an essential and a redundant step that a score ranks right; ties count half."""
    wins = [
        (score(a) > score(b)) + 0.5 * (score(a) == score(b))
        for steps in traces
        for a, b in product(steps, steps)
        if (a[3], b[3]) == ("essential", "redundant")
    ]
    return mean(wins)


def describe(problems: Sequence[Worked], templates: int, style: TraceStyle | None = None) -> list[str]:
    """Return the cells of one row."""
    traces = [write_trace(*problem, style=style) for problem in problems]
    steps = [read_steps(problem, trace) for problem, trace in zip(problems, traces, strict=True)]
    labels = Counter(step[3] for each in steps for step in each)
    characters: Counter[str] = Counter()
    for step in (step for each in steps for step in each):
        characters[step[3]] += step[1]
    half = len(steps) // 2
    words = Counter((step[2], step[3]) for each in steps[:half] for step in each)

    def odds(step: Step) -> float:
        essential, redundant = words[step[2], "essential"], words[step[2], "redundant"]
        return (essential + 0.5) / (essential + redundant + 1)

    cells = [
        f"{len(problems):,}",
        str(templates or "none"),
        f"{mean(len(solution_steps(problem[1])) for problem in problems):.1f}",
        f"{mean(len(problem[0]) for problem in problems):.0f}",
        f"{mean(len(trace.text) for trace in traces):.0f}",
        f"{mean(map(len, steps)):.1f}",
    ]
    cells += [f"{100 * labels[name] / labels.total():.1f}" for name in ("essential", "redundant", "undecided")]
    cells += [
        f"{100 * characters['redundant'] / characters.total():.1f}",
        f"{mean(len(trace.masked) for trace in traces):.2f}",
    ]
    scores: tuple[Callable[[Step], float], ...] = (lambda step: step[1], lambda step: -step[0])
    return [
        *cells,
        *(f"{100 * ranked_right(s, steps):.1f}" for s in scores),
        f"{100 * ranked_right(odds, steps[half:]):.1f}",
        f"{100 * ranked_right(lambda step: step[4], steps):.1f}",
    ]


def read_gsm8k(path: Path, most: int) -> tuple[list[Worked], int]:
    """Return rows whose solutions read as true equations, and how many rows were read for them."""
    found: list[Worked] = []
    read = 0
    for line in path.read_text(encoding="utf-8").splitlines():
        row, read = json.loads(line), read + 1
        answer = row["answer"].rpartition("####")[2].strip()
        if reads_true(plain_solution(row["answer"]), to_number(answer)):
            found.append((row["question"], row["answer"], answer))
        if len(found) == most:
            break
    return found, read


def main() -> None:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--problems", type=int, default=1000, help="of each row")
    parser.add_argument("--gsm8k", type=Path, help="file of GSM8K's rows (question, answer), for a further row")
    parser.add_argument("--output", type=Path)
    args = parser.parse_args()
    rows = {}
    for grade, splits in TEMPLATES.items():
        for split, templates in splits.items():
            drawn = generate_problems(split, args.problems, 0, grade)
            worked = [(p.question, p.worked, p.solution) for p in drawn]
            rows[f"{grade}, {split}"] = describe(worked, len(templates))
            if (grade, split) == ("easy", "train"):
                rows[f"{grade}, {split}, {LEARNT.slip:g} slips a step"] = describe(worked, len(templates), LEARNT)
    if args.gsm8k is not None:
        problems, read = read_gsm8k(args.gsm8k, args.problems)
        rows[f"GSM8K ({len(problems):,} of {read:,} rows read true)"] = describe(problems, 0)
    heads = ("", *COLUMNS, *SHARES, *RULES)
    lines = [f"| {' | '.join(heads)} |", f"|---|{'---:|' * (len(heads) - 1)}"]
    lines += [f"| {name} | {' | '.join(cells)} |" for name, cells in rows.items()]
    text = "\n".join(lines) + "\n"
    print(text)
    if args.output is not None:
        args.output.write_text(text, encoding="utf-8")
        print(f"written to {args.output}")


if __name__ == "__main__":
    main()
