"""Read a run folder: discovery and its proofs, and for every arm evaluations, training log and annotated traces.

Whatever is missing is None or empty; whatever is there but malformed is a DataError that names file, field and fix.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from attnpo.discovery.evidence import InterventionResult, StabilityResult, TransferResult, VerificationResult
from attnpo.discovery.result import DiscoveryResult
from attnpo.errors import DataError
from attnpo.evaluation.comparison import Difference, difference
from attnpo.evaluation.result import EvaluationResult
from attnpo.evaluation.table import ProblemTable
from attnpo.files import UserFile, parse_json
from attnpo.reporting.wording import method_of
from attnpo.rollouts import Rollout, read_rollouts

ARM_ORDER = ("base", "rloo", "grpo", "tlmre", "attnpo")
ARM_FILES = ("evaluation.json", "trainer_state.json", "annotated.jsonl", "stability.json")
DISCOVERY_FILES = ("discovery.json", "intervention.json", "stability.json", "transfer.json", "verification.json")


@dataclass(frozen=True)
class Arm:
    """One model that was measured: the starting model or a trained one.

    Attributes:
        name: its folder.
        evaluation: what its `evaluation.json` holds, or `rollouts.jsonl` where that lacks the sums of its problems.
        log: what its training logged.
        traces: annotated responses.
        stability: its head set through its training.
        benchmarks: folder below the arm's → evaluation, for arms measured on several data sets.
    """

    name: str
    evaluation: EvaluationResult | None = None
    log: tuple[dict[str, Any], ...] = ()
    traces: tuple[Rollout, ...] = ()
    stability: StabilityResult | None = None
    benchmarks: Mapping[str, EvaluationResult] = field(default_factory=dict)

    @property
    def method(self) -> str:
        """The name without a seed suffix."""
        return method_of(self.name)

    def minus(self, other: Arm) -> Difference | None:
        """Return how it differs from another arm; None where they were not measured, or not alike."""
        if self.evaluation is None or other.evaluation is None:
            return None
        return difference(self.evaluation, other.evaluation)


@dataclass(frozen=True)
class RunFolder:
    """All that a run left behind. `about` is the optional `run.json`: command, settings, versions."""

    path: Path
    arms: tuple[Arm, ...]
    discovery: DiscoveryResult | None = None
    about: Mapping[str, Any] = field(default_factory=dict)
    intervention: InterventionResult | None = None
    stability: StabilityResult | None = None
    transfer: TransferResult | None = None
    verification: VerificationResult | None = None

    @property
    def evaluated(self) -> tuple[Arm, ...]:
        """The arms that have an evaluation."""
        return tuple(arm for arm in self.arms if arm.evaluation is not None)


def load_run_folder(run_dir: Path) -> RunFolder:
    """Read a run folder.

    Raises:
        DataError: the folder is missing or holds no results, or a file in it is malformed.
    """
    if run_dir.is_file():
        raise DataError(f"{run_dir}: is a file; name the folder of a run")
    if not run_dir.is_dir():
        raise DataError(f"{run_dir}: no such run folder; make one with `attnpo quickstart` or `attnpo evaluate`")
    arms = tuple(
        _load_arm(folder)
        for folder in sorted(run_dir.iterdir(), key=lambda folder: _arm_rank(folder.name))
        if folder.is_dir() and (any((folder / name).is_file() for name in ARM_FILES) or _load_benchmarks(folder))
    )
    found = {name: run_dir / name for name in DISCOVERY_FILES if (run_dir / name).is_file()}
    if not arms and not found:
        raise DataError(
            f"{run_dir}: nothing to report (no discovery.json and no <arm>/evaluation.json); "
            "make them with `attnpo quickstart`, `attnpo discover` or `attnpo evaluate`"
        )
    about_file = run_dir / "run.json"
    return RunFolder(
        path=run_dir,
        arms=arms,
        discovery=_load_discovery(found["discovery.json"]) if "discovery.json" in found else None,
        about=read_json(about_file) if about_file.is_file() else {},
        intervention=InterventionResult.load(found["intervention.json"]) if "intervention.json" in found else None,
        stability=StabilityResult.load(found["stability.json"]) if "stability.json" in found else None,
        transfer=TransferResult.load(found["transfer.json"]) if "transfer.json" in found else None,
        verification=VerificationResult.load(found["verification.json"]) if "verification.json" in found else None,
    )


def read_json(path: Path) -> dict[str, Any]:
    """Read one JSON object from a file.

    Raises:
        DataError: the file cannot be read, is not JSON or not an object.
    """
    content = UserFile(path, hint="delete it and run its command again").json()
    if not isinstance(content, dict):
        raise DataError(f"{path}: expected a JSON object, found {type(content).__name__}")
    return content


def _load_discovery(path: Path) -> DiscoveryResult:
    result = DiscoveryResult.load(path)
    if not (result.num_layers and result.num_heads):
        raise DataError(f"{path}: no layers or no heads; write it again with `attnpo discover`")
    for name in ("sra_select", "sra_report", "sra_report_low", "sra_report_high", "relative_attention"):
        grid = getattr(result, name)
        if not grid and name not in ("sra_select", "sra_report"):
            continue
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
    annotated, stability = folder / "annotated.jsonl", folder / "stability.json"
    return Arm(
        name=folder.name,
        evaluation=_load_evaluation(evaluation) if evaluation.is_file() else None,
        log=_read_log(state) if state.is_file() else (),
        traces=tuple(read_rollouts(annotated)) if annotated.is_file() else (),
        stability=StabilityResult.load(stability) if stability.is_file() else None,
        benchmarks=_load_benchmarks(folder),
    )


def _load_benchmarks(folder: Path) -> dict[str, EvaluationResult]:
    """Return the evaluations in folders below an arm's, by folder name, where they are of several data sets.

    Folders below that hold one data set over and over are other runs, not benchmarks of this arm.
    """
    found = {path.parent.name: _load_evaluation(path) for path in sorted(folder.glob("*/evaluation.json"))}
    if any(evaluation.benchmark is None for evaluation in found.values()):
        datasets = [evaluation.dataset for evaluation in found.values()]
        if len(datasets) < 2 or len(set(datasets)) < len(datasets):
            return {}
    return found


def _load_evaluation(path: Path) -> EvaluationResult:
    evaluation, rollouts = EvaluationResult.load(path), path.with_name("rollouts.jsonl")
    if evaluation.problems is None and rollouts.is_file():
        return evaluation.model_copy(update={"problems": _read_sums(rollouts)})
    return evaluation


def _read_log(path: Path) -> tuple[dict[str, Any], ...]:
    history = read_json(path).get("log_history")
    if not isinstance(history, list) or not all(isinstance(entry, dict) for entry in history):
        raise DataError(f"{path}: field log_history: expected a list of objects, as transformers' trainer writes it")
    return tuple(history)


def _read_sums(path: Path) -> ProblemTable:
    """Return what a comparison is made from, of verified responses. Rows are read one by one: files can be large."""
    columns = ("responses", "correct", "response_tokens")
    sums: dict[str, list[int]] = defaultdict(lambda: [0] * len(columns))
    for where, line in UserFile(path, "rollouts file").lines():
        try:
            row = parse_json(line)
            problem, verdict, length = str(row["problem_id"]), row["correct"], len(row["response_ids"])
        except (ValueError, KeyError, TypeError) as error:
            raise DataError(f"{where}: not a rollout row ({error}); write it again with `attnpo evaluate`") from error
        if verdict is not None:
            sums[problem] = [a + b for a, b in zip(sums[problem], (1, int(verdict), length), strict=True)]
    names = sorted(sums)
    nothing: list[str | None] = [None] * len(names)
    values: dict[str, list[int | float]] = {c: [sums[name][i] for name in names] for i, c in enumerate(columns)}
    return ProblemTable(problem_id=names, difficulty=nothing, subject=nothing, labelled=False, columns=values)
