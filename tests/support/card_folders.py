"""Folders as `attnpo train` and `attnpo evaluate` leave them, with small-world numbers."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import run_folders

from attnpo.attention import HeadSet
from attnpo.training.record import TrainingRecord

PROBLEMS = 24
COLUMNS = (
    "think_tokens", "redundant_tokens", "answer_tokens", "steps", "essential_steps", "redundant_steps",
    "undecided_steps", "truncated", "confused_phrases", "progression_phrases", "summary_phrases",
)  # fmt: skip
EVIDENCE: dict[str, Any] = {
    "dataset": "attnpo.tinyworld:train_dataset",
    "labeler": "attnpo.tinyworld:label_steps",
    "gates": {"sampled": 2048, "kept": 841},
    "responses": {"selected_on": 420, "reported_on": 421},
    "sra": {"value": 0.901, "low": 0.89, "high": 0.912},
    "sra_length_matched": {"value": 0.944, "low": 0.932, "high": 0.956},
    "best_single_sra": {"value": 0.898, "low": 0.886, "high": 0.91},
    "trivial": {"shorter first": {"sra": {"value": 0.59, "low": 0.57, "high": 0.61}, "sra_length_matched": None}},
    "credit_accuracy": {"PA redundant": {"value": 0.86, "low": 0.84, "high": 0.88}},
    "proven": True,
    "verdict": "Proven: heads (2, 0), (1, 1) reach SRA 90.1 [89.0, 91.2] % on held-out problems.",
}


def head_set(**more: Any) -> HeadSet:
    return HeadSet(
        **{
            "model_id": "owner/tiny",
            "config_fingerprint": "x#1",
            "num_layers": 4,
            "num_heads": 4,
            "heads": [(2, 0), (1, 1)],
            "sra": 0.901,
            "found_by": "greedy",
            "evidence": EVIDENCE,
            **more,
        }
    )


def record(**more: Any) -> TrainingRecord:
    return TrainingRecord(
        **{
            "name": "attnpo",
            "model": "owner/tiny",
            "data": "owner/problems:main",
            "method": "attnpo",
            "method_settings": {"alpha_len": 0.2, "lam": 2.0},
            "settings": {"learning_rate": 1e-4, "num_generations": 4},
            "head_set": head_set(),
            "responses_a_step": 16,
            "versions": {"attnpo": "0.1.0", "peft": "0.19.0"},
            "tags": ["attnpo", "trl"],
            **more,
        }
    )


def evaluation(name: str, **more: Any) -> dict[str, Any]:
    """An evaluation whose table holds every column that a comparison reads."""
    found = run_folders.sampled_evaluation(name, **more)
    table = found["problems"]
    for name in ("problem_id", "difficulty", "subject"):
        table[name] = table[name][:PROBLEMS]
    columns = table["columns"] = {name: values[:PROBLEMS] for name, values in table["columns"].items()}
    for place, column in enumerate(COLUMNS):
        columns[column] = [tokens // (place + 2) for tokens in columns["response_tokens"]]
    return found


def run_folder(folder: Path, evaluated: bool = True, base: bool = True, **more: Any) -> Path:
    """A trained run `folder/attnpo`, the starting model's evaluation beside it in `folder/base`."""
    run = folder / "attnpo"
    run.mkdir(parents=True)
    record(**more).save(run)
    log = {"log_history": run_folders.log_history("attnpo", 20)}
    (run / "trainer_state.json").write_text(json.dumps(log))
    for name in ["attnpo"] * evaluated + ["base"] * base:
        (folder / name).mkdir(exist_ok=True)
        (folder / name / "evaluation.json").write_text(json.dumps(evaluation(name)))
    return run
