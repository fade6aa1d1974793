"""Folders as `attnpo reproduce` leaves them, made of chosen numbers."""

from __future__ import annotations

import json
import random
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from measured import evaluation, rollout, save

from attnpo.reporting.reproduction import TrainedRow, read_cost
from attnpo.study.cells import CELL_FILE, Cell, Experiment

PROBLEMS = 30
HEADS = {"heads.json": [[2, 3], [2, 1]], "wrong_head.json": [[1, 3]], "best_heads.json": [[2, 3], [2, 1], [1, 1]]}


def head_sets(folder: Path, changes: Mapping[str, list[list[int]]] | None = None) -> None:
    """Write the head sets that cells train with."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, heads in (HEADS | dict(changes or {})).items():
        content = {
            "schema_version": 1,
            "model_id": "tinyworld",
            "config_fingerprint": "toy",
            "num_layers": 4,
            "num_heads": 4,
            "heads": heads,
            "found_by": "hand",
        }
        (folder / name).write_text(json.dumps(content), encoding="utf-8")


def measure(folder: Path, name: str, seed: int, better: float = 0.0, shorter: int = 0, **changes: Any) -> Path:
    """Write the evaluation of a model: more right, shorter; the same random numbers at each seed."""
    rng = random.Random(seed)
    rows = [
        rollout(f"{1 + i % 3}{i:02}", rng.random() < 0.5 + better, 120 + rng.randrange(40) - shorter)
        for i in range(PROBLEMS)
    ]
    return save(evaluation(name, rows, dataset="small world", **changes), folder)


def log_lines(steps: int, extra: float = 0.0, shorter: int = 0, audit: float | None = 0.2) -> list[dict[str, Any]]:
    """Return what a training run logged; the last line is the run's own."""
    lines: list[dict[str, Any]] = []
    for step in range(1, steps + 1):
        line = {
            "step": step,
            "attnpo/accuracy": 0.5 + 0.3 * step / steps,
            "attnpo/response_length": 130.0 - shorter * step / steps,
            "attnpo/sampled_tokens": 8000.0 * step,
            "attnpo/extra_tokens": extra * step,
            "attnpo/extra_pass_tokens": 0.0,
        }
        if audit is not None:
            line |= {"attnpo/audit/essential_punished": audit, "attnpo/audit/redundant_rewarded": 2 * audit}
        lines.append(line)
    return [*lines, {"step": steps, "train_runtime": 12.0}]


def write_log(folder: Path, lines: Iterable[Mapping[str, Any]]) -> None:
    """Write a training run's log."""
    (folder / "log.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")


def trained_row(
    path: Path,
    name: str,
    seeds: Sequence[int] = (1, 2),
    better: float = 0.2,
    shorter: int = 20,
    group: str = "main",
    extra: float = 0.0,
    changes: Mapping[str, Any] | None = None,
    **about: Any,
) -> TrainedRow:
    """Write a row's runs of 10 steps; a run's extra tokens a step are `extra` times its seed."""
    folders, costs = {}, {}
    for seed in seeds:
        folders[seed] = measure(path / name / str(seed), name, seed, better, shorter, **(changes or {}))
        write_log(folders[seed], log_lines(10, extra * seed, shorter))
        costs[seed] = read_cost(folders[seed], 64)
    return TrainedRow(name, group, folders, costs, {"method": name, "settings": {}, "differs": "", **about})


def write_cell(
    experiment: Experiment, cell: Cell, better: float = 0.2, shorter: int = 20, steps: int = 30, extra: float = 0.0
) -> Path:
    """Write a finished cell."""
    folder = cell.folder(experiment.output_dir)
    measure(folder, cell.row.name, cell.seed, better, shorter)
    write_log(folder, log_lines(steps, extra, shorter))
    (folder / "trainer_state.json").write_text("{}", encoding="utf-8")
    (folder / "run.json").write_text(json.dumps({"machine": f"machine {cell.seed}", "commit": "abc"}), encoding="utf-8")
    (folder / CELL_FILE).write_text(json.dumps(experiment.settings(cell)), encoding="utf-8")
    return folder
