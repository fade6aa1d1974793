"""A run folder as quickstart leaves it: small-world numbers, three arms, discovery, curves, annotated traces."""

from __future__ import annotations

import json
import math
import random
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from attnpo.rollouts import Rollout, Step, write_rollouts

N_PROBLEMS = 400
# accuracy, tokens, redundant steps, essential steps, confused phrases
ARMS = {
    "base": (0.560, 129.1, 3.55, 3.9, 2.9),
    "tlmre": (0.929, 88.3, 0.85, 3.7, 0.8),
    "attnpo": (0.935, 83.1, 0.55, 3.7, 0.4),
}


def interval(value: float, half: float) -> dict[str, float]:
    return {"value": value, "low": value - half, "high": value + half}


def summary(
    accuracy: float, tokens: float, redundant: float, essential: float, confused: float, n: int, **more: Any
) -> dict:
    def wide(value: float) -> dict[str, float]:
        return interval(value, 0.6 * (value + 0.05) / math.sqrt(n))

    labelled = {"essential_steps": wide(essential), "redundant_steps": wide(redundant), "undecided_steps": wide(0.3)}
    return {
        "num_responses": n,
        "accuracy": interval(accuracy, 1.96 * math.sqrt(accuracy * (1 - accuracy) / n)),
        "response_tokens": interval(tokens, 0.9 * tokens / math.sqrt(n)),
        "think_tokens": wide(tokens - 22),
        "answer_tokens": wide(21.0),
        "steps": wide(redundant + essential),
        "truncated": wide(0.004),
        "confused_phrases": wide(confused),
        "progression_phrases": wide(3.1),
        "summary_phrases": wide(0.7),
        **labelled,
        "redundant_token_share": wide(redundant / (redundant + essential)),
    } | more


def evaluation(name: str, **more: Any) -> dict:
    accuracy, tokens, redundant, essential, confused = ARMS[name]
    by_difficulty = {}
    for d in range(1, 6):
        right = 1 - (1 - accuracy) * 2 * d / 6
        scale = 0.55 + 0.15 * d
        by_difficulty[str(d)] = summary(
            right, tokens * scale, redundant * scale, d + 0.1, confused * scale, N_PROBLEMS // 5
        )
    return {
        "schema_version": 1,
        "name": name,
        "model": "attnpo/tinyworld-1m" if name == "base" else f"runs/quickstart/{name}/model",
        "dataset": "attnpo.tinyworld:heldout_dataset",
        "num_problems": N_PROBLEMS,
        "samples_per_problem": 1,
        "seed": 0,
        "sampling": {"max_new_tokens": 320, "temperature": 1.0, "top_p": 1.0, "top_k": 0},
        "wall_seconds": 31.5,
        "tokens_per_second": 4210.0,
        "overall": summary(accuracy, tokens, redundant, essential, confused, N_PROBLEMS),
        "by_difficulty": by_difficulty,
    } | more


def outcome_rows(name: str, seed: int = 0) -> list[str]:
    """Rows with only what paired differences need, hits and lengths as the arm's numbers have them."""
    accuracy, tokens, *_ = ARMS[name]
    # The same problems are hard, and long, for every arm.
    shared, own = random.Random(seed), random.Random(f"{name}{seed}")
    rows = []
    for i in range(N_PROBLEMS):
        hardness = 0.7 * shared.random() + 0.3 * own.random()
        length = max(10, round(tokens * (0.6 + 0.8 * shared.random()) + own.gauss(0, 4)))
        rows.append(json.dumps({"problem_id": f"p{i}", "correct": hardness < accuracy, "response_ids": [7] * length}))
    return rows


def log_history(name: str, steps: int = 60) -> list[dict]:
    rng, (accuracy, tokens, redundant, _, confused) = random.Random(name), ARMS[name]
    start = ARMS["base"]
    history: list[dict] = []
    for step in range(1, steps + 1):
        done = 1 - math.exp(-3.2 * step / steps)

        def at(before: float, after: float, noise: float, done: float = done) -> float:
            return max(0.0, before + (after - before) * done + rng.gauss(0, noise))

        credit = name == "attnpo"
        entry = {
            "step": step,
            "loss": rng.gauss(0, 0.01),
            "completions/mean_length": at(start[1], tokens, 3),
            "attnpo/accuracy": min(1.0, at(start[0], accuracy, 0.03)),
            "attnpo/steps_attenuated": at(0.02, 0.18, 0.02) if credit else 0.0,
            "attnpo/steps_protected": at(0.3, 0.1, 0.03) if credit else 0.0,
            "attnpo/gamma": min(1.0, at(0.7, 0.82, 0.02)) if credit else 1.0,
            "attnpo/phrases/confused": at(start[4], confused, 0.15),
            "attnpo/phrases/progression": at(3.3, 3.1, 0.1),
            "attnpo/phrases/summary": at(0.9, 0.7, 0.1),
            "attnpo/steps/redundant": at(start[2], redundant, 0.15),
            "attnpo/steps/essential": at(3.9, 3.7, 0.1),
            "attnpo/steps_per_response": at(7.4, 4.4, 0.2),
        }
        if credit:
            entry["attnpo/credit_agreement"] = min(1.0, at(0.84, 0.88, 0.02))
        history.append(entry)
    history.append({"step": steps, "train_runtime": 131.4, "train_loss": 0.001})
    return history


QUESTION = (
    "Leo has 9 coins. Bob has 2 fewer than Leo. Gus has 4 coins. Ann has 4 fewer than Bob. "
    "How many coins does Ann have?"
)
PARTS = {
    "question": ("Okay, the question is how many coins Ann has.", "redundant", "plain"),
    "bob": ("First, we know that Bob has 9 - 2 = 7.", "essential", "progression"),
    "check": ("Wait, let me double-check. 7 + 2 = 9, yes.", "redundant", "confused"),
    "gus": ("Hmm, Gus has 4 coins.", "redundant", "confused"),
    "ann": ("Then Ann has 7 - 4 = 3.", "essential", "progression"),
    "again": ("But let me make sure. 3 + 4 = 7, right.", "redundant", "confused"),
    "sum": ("Therefore, Ann has 3 coins.", "undecided", "summary"),
}
ORDERS = {
    "base": ("question", "bob", "check", "gus", "ann", "again", "again", "sum"),
    "tlmre": ("bob", "check", "ann", "again"),
    "attnpo": ("bob", "ann", "again"),
}
ANSWER = "Bob has 7, Ann has 3. The answer is \\boxed{3}."


def trace(arm: str, number: int, correct: bool = True, prompt: str = QUESTION) -> Rollout:
    """A response of an arm with scores and factors by Eq. 6 and 7, one token a word."""
    rng = random.Random(f"{arm}{number}")
    advantage = {"base": 0.21, "tlmre": -0.14, "attnpo": 0.08}[arm] * (1 if number % 2 == 0 else -1)
    pass_rate = 0.75
    text, position, rows = "", 0, []
    for name in ORDERS[arm]:
        said, label, family = PARTS[name]
        said += "\n\n"
        n = len(said.split())
        rows.append(((len(text), len(text) + len(said)), (position, position + n), family, label))
        text, position = text + said, position + n
    answer = (position + 1, position + 1 + len(ANSWER.split()))
    n_tokens = answer[1] + 1
    baseline = pass_rate**2 * (answer[1] - answer[0]) / n_tokens
    steps = []
    for chars, tokens, family, label in rows:
        score = baseline * math.exp(rng.gauss({"essential": 0.9, "redundant": -0.8, "undecided": 0.3}[label], 0.5))
        gamma = 1.0
        if correct and advantage > 0 and score < baseline:
            gamma = pass_rate**2 * score / baseline + 1 - pass_rate**2
        if correct and advantage < 0 and score > baseline:
            gamma = 0.0
        steps.append(Step(chars, tokens, family, label, score, gamma))
    return Rollout(
        problem_id=f"p{number}",
        prompt=[{"role": "user", "content": prompt}],
        solution="3",
        sample=0,
        response_ids=tuple(range(n_tokens)),
        response=f"{text}</think>\n\n{ANSWER}",
        finished=True,
        correct=correct,
        steps=tuple(steps),
        answer_tokens=answer,
        difficulty="2",
        pass_rate=pass_rate,
        advantage=advantage,
    )


def discovery(layers: int = 4, heads: int = 4, **more: Any) -> dict:
    rng = random.Random(3)
    grid = [[min(0.9, max(0.1, rng.gauss(0.5, 0.11))) for _ in range(heads)] for _ in range(layers)]
    grid[2][0] = 0.898
    grid[2][3 % heads] = 0.71
    report = [[min(1.0, max(0.0, v + rng.gauss(0, 0.01))) for v in row] for row in grid]

    def ensemble(n: int, gain: float) -> dict:
        return {
            "heads": [[2, i % heads] for i in range(n)],
            "sra_select": 0.9 + gain * n,
            "sra_report": 0.893 + 0.8 * gain * n,
        }

    def rule(all_pairs: float, matched: float) -> dict:
        return {"sra": interval(all_pairs, 0.012), "sra_length_matched": interval(matched, 0.02)}

    return {
        "schema_version": 1,
        "model": "attnpo/tinyworld-1m",
        "dataset": "attnpo.tinyworld:train_dataset",
        "labeler": "attnpo.tinyworld:label_steps",
        "seed": 0,
        "gates": {"sampled": 2048, "incorrect": 790, "unfinished": 12, "low_pass_rate": 301, "too_few_steps": 8,
                  "no_pair": 96, "kept": 841},
        "num_layers": layers,
        "num_heads": heads,
        "num_select": 420,
        "num_report": 421,
        "sra_select": grid,
        "sra_report": report,
        "relative_attention": [[abs(rng.gauss(1, 0.3)) for _ in range(heads)] for _ in range(layers)],
        "pairs_report": 5120,
        "pairs_report_length_matched": 1490,
        "greedy": [ensemble(n, 0.004 / n) for n in range(1, 11)],
        "top": [ensemble(n, -0.012) for n in range(1, 11)],
        "chosen": [[2, 0], [2, 3 % heads], [3, 1]],
        "chosen_by": "greedy",
        "chosen_sra": interval(0.901, 0.011),
        "chosen_sra_length_matched": interval(0.944, 0.012),
        "best_single_sra": interval(0.898, 0.012),
        "trivial": {
            "shorter first": rule(0.59, 0.52),
            "earlier first": rule(0.58, 0.57),
            "all heads": rule(0.63, 0.66),
            "random model": rule(0.50, 0.50),
        },
        "credit_accuracy": {
            "PA essential": interval(0.17, 0.015),
            "PA redundant": interval(0.86, 0.014),
            "NA essential": interval(0.64, 0.02),
            "NA redundant": interval(0.04, 0.008),
        },
        "proven": True,
        "verdict": "Proven: heads (2, 0), (2, 3), (3, 1) reach SRA 90.1 [89.0, 91.2] % on held-out problems.",
        "wall_seconds": 58.0,
    } | more  # fmt: skip


def write_json(path: Path, content: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content), encoding="utf-8")


def write_run(folder: Path, arms: tuple[str, ...] = tuple(ARMS)) -> Path:
    """Write a whole run folder."""
    write_json(folder / "discovery.json", discovery())
    write_json(
        folder / "run.json",
        {
            "command": "attnpo quickstart --output_dir runs/quickstart --seed 0",
            "settings": {"Training": {"method": "attnpo", "alpha_len": 0.2, "learning_rate": 3e-4, "steps": 60}},
            "versions": {"attnpo": "0.1.0", "torch": "2.13.0"},
        },
    )
    for name in arms:
        write_json(folder / name / "evaluation.json", evaluation(name))
        (folder / name / "rollouts.jsonl").write_text("\n".join(outcome_rows(name)), encoding="utf-8")
        if name != "base":
            write_json(folder / name / "trainer_state.json", {"log_history": log_history(name)})
        write_rollouts(folder / name / "annotated.jsonl", [trace(name, i) for i in range(4)])
    return folder


@pytest.fixture(scope="session")
def _template_run() -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as folder:
        yield write_run(Path(folder) / "quickstart")


@pytest.fixture
def run_dir(_template_run: Path, tmp_path: Path) -> Path:
    """A run folder that a test may change."""
    return Path(shutil.copytree(_template_run, tmp_path / "quickstart"))
