"""Read a run folder: discovery, and for every arm its evaluation, outcomes, training log and annotated traces.

Whatever is missing is None or empty; whatever is there but malformed is a DataError that names file, field and fix.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from attnpo.discovery.result import DiscoveryResult
from attnpo.errors import DataError
from attnpo.evaluation.result import EvaluationResult
from attnpo.reporting.wording import method_of
from attnpo.rollouts import Rollout, read_rollouts

ARM_ORDER = ("base", "rloo", "grpo", "tlmre", "attnpo")
ARM_FILES = ("evaluation.json", "trainer_state.json", "annotated.jsonl")


@dataclass(frozen=True)
class Outcome:
    """Mean accuracy (0…1) and mean response length in tokens of one problem's responses."""

    accuracy: float
    tokens: float


@dataclass(frozen=True)
class Arm:
    """One model that was measured: the starting model or a trained one."""

    name: str
    evaluation: EvaluationResult | None = None
    outcomes: Mapping[str, Outcome] = field(default_factory=dict)
    log: tuple[dict[str, Any], ...] = ()
    traces: tuple[Rollout, ...] = ()

    @property
    def method(self) -> str:
        """The name without a seed suffix."""
        return method_of(self.name)


@dataclass(frozen=True)
class RunFolder:
    """All that a run left behind. `about` is the optional `run.json`: command, settings, versions."""

    path: Path
    arms: tuple[Arm, ...]
    discovery: DiscoveryResult | None = None
    about: Mapping[str, Any] = field(default_factory=dict)

    @property
    def evaluated(self) -> tuple[Arm, ...]:
        """The arms that have an evaluation."""
        return tuple(arm for arm in self.arms if arm.evaluation is not None)


def load_run(run_dir: Path) -> RunFolder:
    """Read a run folder.

    Raises:
        DataError: the folder is missing or holds no results, or a file in it is malformed.
    """
    if not run_dir.is_dir():
        raise DataError(f"{run_dir}: no such run folder; make one with `attnpo quickstart` or `attnpo evaluate`")
    arms = tuple(
        _load_arm(folder)
        for folder in sorted(run_dir.iterdir(), key=lambda folder: _arm_rank(folder.name))
        if folder.is_dir() and any((folder / name).is_file() for name in ARM_FILES)
    )
    discovery_file = run_dir / "discovery.json"
    discovery = _load_discovery(discovery_file) if discovery_file.is_file() else None
    if not arms and discovery is None:
        raise DataError(
            f"{run_dir}: nothing to report (no discovery.json and no <arm>/evaluation.json); "
            "make them with `attnpo quickstart`, `attnpo discover` or `attnpo evaluate`"
        )
    about_file = run_dir / "run.json"
    about = read_json(about_file) if about_file.is_file() else {}
    return RunFolder(path=run_dir, arms=arms, discovery=discovery, about=about)


def read_json(path: Path) -> dict[str, Any]:
    """Read one JSON object from a file.

    Raises:
        DataError: the file cannot be read, is not JSON or not an object.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror})") from error
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: not valid JSON ({error}); delete it and run its command again") from error
    if not isinstance(content, dict):
        raise DataError(f"{path}: expected a JSON object, found {type(content).__name__}")
    return content


def _load_discovery(path: Path) -> DiscoveryResult:
    result = DiscoveryResult.load(path)
    if not (result.num_layers and result.num_heads):
        raise DataError(f"{path}: no layers or no heads; write it again with `attnpo discover`")
    for name in ("sra_select", "sra_report"):
        grid = getattr(result, name)
        if len(grid) != result.num_layers or any(len(row) != result.num_heads for row in grid):
            raise DataError(
                f"{path}: field {name}: expected {result.num_layers} layers x {result.num_heads} heads; "
                "write it again with `attnpo discover`"
            )
    for layer, head in result.chosen:
        if not (0 <= layer < result.num_layers and 0 <= head < result.num_heads):
            raise DataError(
                f"{path}: field chosen: head ({layer}, {head}) does not exist in {result.num_layers} layers x "
                f"{result.num_heads} heads; write it again with `attnpo discover`"
            )
    return result


def _arm_rank(name: str) -> tuple[int, str]:
    method = method_of(name)
    return (ARM_ORDER.index(method) if method in ARM_ORDER else len(ARM_ORDER)), name


def _load_arm(folder: Path) -> Arm:
    evaluation, state = folder / "evaluation.json", folder / "trainer_state.json"
    rollouts, annotated = folder / "rollouts.jsonl", folder / "annotated.jsonl"
    return Arm(
        name=folder.name,
        evaluation=EvaluationResult.load(evaluation) if evaluation.is_file() else None,
        outcomes=_read_outcomes(rollouts) if rollouts.is_file() else {},
        log=_read_log(state) if state.is_file() else (),
        traces=tuple(read_rollouts(annotated)) if annotated.is_file() else (),
    )


def _read_log(path: Path) -> tuple[dict[str, Any], ...]:
    history = read_json(path).get("log_history")
    if not isinstance(history, list) or not all(isinstance(entry, dict) for entry in history):
        raise DataError(f"{path}: field log_history: expected a list of objects, as transformers' trainer writes it")
    return tuple(history)


def _read_outcomes(path: Path) -> dict[str, Outcome]:
    """Return the mean outcome of every problem. Rows are read one by one: such files can be large."""
    correct: dict[str, list[bool]] = defaultdict(list)
    tokens: dict[str, list[int]] = defaultdict(list)
    with path.open(encoding="utf-8") as file:
        for row_number, line in enumerate(file, start=1):
            if not line.strip():
                continue
            try:
                row = json.loads(line)
                problem, verdict, length = str(row["problem_id"]), row["correct"], len(row["response_ids"])
            except (json.JSONDecodeError, KeyError, TypeError) as error:
                raise DataError(
                    f"{path}, row {row_number}: not a rollout row ({error}); write it again with `attnpo evaluate`"
                ) from error
            if verdict is not None:
                correct[problem].append(bool(verdict))
                tokens[problem].append(length)
    return {
        problem: Outcome(sum(verdicts) / len(verdicts), sum(tokens[problem]) / len(verdicts))
        for problem, verdicts in correct.items()
    }
