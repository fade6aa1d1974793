"""Responses, tables and evaluations made of chosen numbers."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from attnpo.evaluation import EvaluationResult, EvaluationSettings, ProblemTable
from attnpo.evaluation.summary import summarize, summarize_by
from attnpo.evaluation.tally import Tally, TallyResult
from attnpo.rollouts import Rollout, Step

Row = tuple[str, bool, int]
"""Problem, whether the response is correct, its tokens."""


def rollout(problem: str, correct: bool, tokens: int, **changes: Any) -> Rollout:
    """One response: all but three of its tokens are thought, in one redundant step; the problem's first letter is its
    difficulty."""
    thought = max(0, tokens - 3)
    fields = {
        "problem_id": problem,
        "prompt": "q",
        "solution": "1",
        "sample": 0,
        "response_ids": tuple(range(tokens)),
        "response": "",
        "finished": True,
        "correct": correct,
        "steps": (Step((0, 0), (0, thought), label="redundant"),) if thought else (),
        "answer_tokens": (max(0, tokens - 3), max(0, tokens - 1)),
        "difficulty": problem[0],
        **changes,
    }
    return Rollout(**fields)


def measured(rollouts: Iterable[Rollout], budgets: Sequence[int] = ()) -> TallyResult:
    """Take in responses; phrases are not counted."""
    tally = Tally(lambda text: {})
    for response in rollouts:
        tally.add(response)
    return tally.measured(budgets)


def table(rows: Iterable[Row], budgets: Sequence[int] = ()) -> ProblemTable:
    """Return the sums of responses given as rows."""
    return measured([rollout(*row) for row in rows], budgets).table


def evaluation(name: str, rollouts: Sequence[Rollout], budgets: Sequence[int] = (), **changes: Any) -> EvaluationResult:
    """Return the evaluation of responses, the same number to every problem."""
    found = measured(rollouts, budgets)
    problems = len(found.table)
    settings = EvaluationSettings(samples_per_problem=len(rollouts) // problems, max_new_tokens=1000, resamples=100)
    sampling = asdict(settings.sampling)
    claimed = {
        "model": name,
        "verifier": "exact",
        "samples": settings.samples_per_problem,
        "sampling": sampling,
        "problems": f"{problems} problems",
        "prompts": "abc",
        "engine": {"name": "transformers", "batch": 4},
    }
    fields = {
        "name": name,
        "model": name,
        "dataset": "toy",
        "num_problems": problems,
        "num_problems_asked": problems,
        "samples_per_problem": settings.samples_per_problem,
        "seed": 0,
        "sampling": sampling,
        "settings": claimed | changes.pop("settings", {}),
        "wall_seconds": 2.0,
        "engine_seconds": 1.9,
        "tokens_per_second": 100.0,
        "overall": summarize(found, 0.95, 100),
        "by_difficulty": summarize_by(found.table.difficulty, found, 0.95, 100),
        "by_subject": summarize_by(found.table.subject, found, 0.95, 100),
        "problems": found.table,
        **changes,
    }
    return EvaluationResult(**fields)


def save(result: EvaluationResult, folder: Path) -> Path:
    """Write an evaluation into a folder and return the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    result.save(folder / "evaluation.json")
    return folder
