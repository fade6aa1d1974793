"""A run folder: heads and their proofs, and for every arm evaluations, training log and annotated traces.

Results are looked for in the folder itself and one level below it. What is missing is None or empty.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from attnpo.discovery.evidence import InterventionResult, StabilityResult, TransferResult, VerificationResult
from attnpo.discovery.result import DiscoveryResult
from attnpo.errors import DataError
from attnpo.evaluation.comparison import Difference, difference
from attnpo.evaluation.result import EvaluationResult
from attnpo.reporting.run_files import (
    Trained,
    load_benchmarks,
    load_discovery,
    load_evaluation,
    read_json,
    read_log,
    read_trained,
)
from attnpo.reporting.wording import ARM_TITLES, method_of
from attnpo.rollouts import ANNOTATED_FILE, Rollout, read_rollouts

BASE = "base"
STARTS = (BASE, "before")
"""Names of the model that training starts from; a cold start writes the second."""
ARM_ORDER = (BASE, "rloo", "grpo", "tlmre", "attnpo")
STABILITY = "stability.json"
MEASURED = ("evaluation.json", "trainer_state.json", "log.jsonl", ANNOTATED_FILE)
HEAD_FILES = ("discovery.json", "intervention.json", "transfer.json", "verification.json")
ABOUT = "run.json"


@dataclass(frozen=True)
class Arm:
    """One model that was measured: the starting model or a trained one.

    Attributes:
        name: its folder, or what it is where that says more (`base`, a method) and no other arm is the same.
        evaluation: what its `evaluation.json` holds, or `rollouts.jsonl` where that lacks the sums of its problems.
        log: what its training logged.
        traces: annotated responses.
        stability: its head set through its training.
        benchmarks: folder below the arm's → evaluation, for arms measured on several data sets.
        folder: its folder, empty for the run folder itself.
        trained: what it was trained from and how, where its `training.json` says so.
        start: whether its name does not say so, but training runs, or heads without any run, name its model as theirs.
    """

    name: str
    evaluation: EvaluationResult | None = None
    log: tuple[dict[str, Any], ...] = ()
    traces: tuple[Rollout, ...] = ()
    stability: StabilityResult | None = None
    benchmarks: Mapping[str, EvaluationResult] = field(default_factory=dict)
    folder: str = ""
    trained: Trained | None = None
    start: bool = False

    @property
    def starts(self) -> bool:
        """Whether training starts from it, by its name or by what training runs say."""
        return self.start or self.method in STARTS

    @property
    def method(self) -> str:
        """The name without a seed suffix."""
        return method_of(self.name)

    @property
    def told(self) -> bool:
        """Whether its name or its files say what it is."""
        return self.starts or self.method in ARM_TITLES or self.trained is not None or bool(self.log)

    @property
    def models(self) -> frozenset[str]:
        """The models that its evaluations measured."""
        found = (self.evaluation, *self.benchmarks.values())
        return frozenset(evaluation.model for evaluation in found if evaluation is not None)

    def minus(self, other: Arm) -> Difference | None:
        """Return how it differs from another arm; None where they were not measured, or not alike."""
        if self.evaluation is None or other.evaluation is None:
            return None
        return difference(self.evaluation, other.evaluation)


@dataclass(frozen=True)
class Heads:
    """Heads that were found or proven in one folder; `folder` is empty for the run folder itself."""

    folder: str = ""
    discovery: DiscoveryResult | None = None
    intervention: InterventionResult | None = None
    stability: StabilityResult | None = None
    transfer: TransferResult | None = None
    verification: VerificationResult | None = None

    @property
    def model(self) -> str:
        """The model that was read."""
        found = (self.discovery, self.verification, self.intervention, self.stability, self.transfer)
        return next((result.model for result in found if result is not None), "")

    @property
    def numbers(self) -> frozenset[tuple[int, int]]:
        """The heads, as (layer, head); empty where only a transfer was measured."""
        if self.discovery is not None:
            return frozenset(self.discovery.chosen)
        found = (self.verification, self.intervention, self.stability)
        return next((frozenset(result.heads) for result in found if result is not None), frozenset())


@dataclass(frozen=True)
class RunFolder:
    """All that a run left behind. `about` holds each optional `run.json`: command, settings, versions, by folder."""

    path: Path
    arms: tuple[Arm, ...] = ()
    heads: tuple[Heads, ...] = ()
    about: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    @property
    def evaluated(self) -> tuple[Arm, ...]:
        """The arms that have an evaluation."""
        return tuple(arm for arm in self.arms if arm.evaluation is not None)

    @property
    def discoveries(self) -> tuple[DiscoveryResult, ...]:
        """What was discovered, folder by folder."""
        return tuple(heads.discovery for heads in self.heads if heads.discovery is not None)


def load_run_folder(run_dir: Path) -> RunFolder:
    """Read a run folder.

    Raises:
        DataError: the folder is missing or holds no results, or a file in it is malformed.
    """
    if run_dir.is_file():
        raise DataError(f"{run_dir}: is a file; name the folder of a run")
    if not run_dir.is_dir():
        raise DataError(f"{run_dir}: no such run folder; make one with `attnpo quickstart` or `attnpo evaluate`")
    below = [path for path in sorted(run_dir.iterdir()) if path.is_dir() and not _is_checkpoint(path)]
    arms, heads = [_load_arm(path, path.name) for path in below if _is_arm(path)], []
    if own_arm := _is_measured(run_dir):
        arms.append(_load_arm(run_dir, ""))
    if _holds(run_dir, HEAD_FILES if own_arm else (*HEAD_FILES, STABILITY)):
        heads.append(_load_heads(run_dir, ""))
    heads += [_load_heads(path, path.name) for path in below if _holds(path, HEAD_FILES)]
    if not arms and not heads:
        raise DataError(
            f"{run_dir}: nothing to report (looked in it and in {len(below)} folder{'' if len(below) == 1 else 's'} "
            f"below it for {', '.join((*HEAD_FILES, STABILITY, *MEASURED))}); make them with `attnpo quickstart`, "
            "`attnpo discover`, `attnpo evaluate` or `attnpo train`"
        )
    told = named(starting(joined(arms, run_dir.resolve()), heads))
    return RunFolder(
        path=run_dir,
        arms=tuple(sorted(told, key=lambda arm: _arm_rank(arm.name))),
        heads=tuple(heads),
        about=_load_about(run_dir, below),
    )


def joined(arms: Sequence[Arm], run_dir: Path) -> list[Arm]:
    """Return the arms, a training run and the one evaluation of its model in another folder as one arm."""
    left = list(arms)
    for run in [arm for arm in arms if arm.trained is not None and not arm.models]:
        of_run = [arm for arm in left if arm is not run and any(_lies_in(m, run_dir, run.folder) for m in arm.models)]
        if len(of_run) == 1 and not (of_run[0].log or of_run[0].trained):
            measured = of_run[0]
            both = replace(
                run,
                evaluation=measured.evaluation,
                benchmarks=measured.benchmarks,
                traces=measured.traces or run.traces,
            )
            left = [both if arm is run else arm for arm in left if arm is not measured]
    return left


def starting(arms: Sequence[Arm], heads: Sequence[Heads]) -> list[Arm]:
    """Return the arms, marked where they measured the model that a training run names as its start.

    Without a training run that is the model that heads were found in.
    """
    runs = [arm for arm in arms if arm.trained is not None or arm.log]
    origins = {arm.trained.model for arm in runs if arm.trained is not None} if runs else {h.model for h in heads}
    return [replace(arm, start=not (arm.starts or arm in runs) and _any_same(arm.models, origins)) for arm in arms]


def named(arms: Sequence[Arm]) -> list[Arm]:
    """Return the arms, one whose folder names no method called what it is; several of one kind keep their folders."""
    kinds, taken = [_kind(arm) for arm in arms], {arm.name for arm in arms}
    return [
        replace(arm, name=kind) if kinds.count(kind) == 1 and kind not in {"", arm.method} | taken else arm
        for arm, kind in zip(arms, kinds, strict=True)
    ]


def same_model(one: str, other: str) -> bool:
    """Whether two names are of one model: the same name, or the same folder."""
    return bool(one and other) and (one == other or os.path.abspath(one) == os.path.abspath(other))


def _any_same(some: frozenset[str], others: set[str]) -> bool:
    return any(same_model(one, other) for one in some for other in others)


def _kind(arm: Arm) -> str:
    if arm.method in ARM_TITLES:
        return arm.method
    return BASE if arm.starts else arm.trained.method if arm.trained is not None else ""


def _lies_in(model: str, run_dir: Path, folder: str) -> bool:
    """Whether a model is the one that a folder of the run holds, or a checkpoint in it.

    Folders are compared by their last names: the command may have been given from elsewhere.
    """
    place = [*run_dir.parts, folder] if folder else list(run_dir.parts)
    parts = list(Path(model).parts)
    if parts and parts[-1].startswith("checkpoint-"):
        parts.pop()
    return bool(parts) and parts[-2:] == place[-min(2, len(parts)) :]


def _arm_rank(name: str) -> tuple[int, str]:
    method = method_of(name)
    return (ARM_ORDER.index(method) if method in ARM_ORDER else len(ARM_ORDER)), name


def _holds(folder: Path, names: Sequence[str]) -> bool:
    return any((folder / name).is_file() for name in names)


def _is_checkpoint(folder: Path) -> bool:
    """Whether a folder is a part of the training run that it lies in, and not measured by itself."""
    return folder.name.startswith("checkpoint-") and not (folder / "evaluation.json").is_file()


def _is_measured(folder: Path) -> bool:
    return _holds(folder, MEASURED) or any(folder.glob("checkpoint-*/trainer_state.json"))


def _is_arm(folder: Path) -> bool:
    alone = not _holds(folder, HEAD_FILES)  # where heads were found, stability.json is theirs
    return _is_measured(folder) or (alone and _holds(folder, (STABILITY,))) or bool(load_benchmarks(folder))


def _load_heads(folder: Path, name: str) -> Heads:
    found = {path.name: path for path in map(folder.joinpath, (*HEAD_FILES, STABILITY)) if path.is_file()}
    return Heads(
        folder=name,
        discovery=load_discovery(found["discovery.json"]) if "discovery.json" in found else None,
        intervention=InterventionResult.load(found["intervention.json"]) if "intervention.json" in found else None,
        stability=StabilityResult.load(found[STABILITY]) if STABILITY in found else None,
        transfer=TransferResult.load(found["transfer.json"]) if "transfer.json" in found else None,
        verification=VerificationResult.load(found["verification.json"]) if "verification.json" in found else None,
    )


def _load_arm(path: Path, folder: str) -> Arm:
    evaluation, annotated, stability = (path / n for n in ("evaluation.json", ANNOTATED_FILE, STABILITY))
    own_stability = stability.is_file() and not _holds(path, HEAD_FILES)
    return Arm(
        name=folder or path.resolve().name,
        folder=folder,
        evaluation=load_evaluation(evaluation) if evaluation.is_file() else None,
        log=read_log(path),
        traces=tuple(read_rollouts(annotated)) if annotated.is_file() else (),
        stability=StabilityResult.load(stability) if own_stability else None,
        benchmarks=load_benchmarks(path) if folder else {},
        trained=read_trained(path),
    )


def _load_about(run_dir: Path, below: Sequence[Path]) -> dict[str, Mapping[str, Any]]:
    """Return the folder's own `run.json`, which says how all of it was made, else those of the folders below."""
    if (run_dir / ABOUT).is_file():
        return {"": read_json(run_dir / ABOUT)}
    return {path.name: read_json(path / ABOUT) for path in below if (path / ABOUT).is_file()}
