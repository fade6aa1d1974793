"""What the files recorded of settings, models, data and time."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from attnpo.evaluation.result import EvaluationResult
from attnpo.reporting.run_folder import Arm, Heads, RunFolder
from attnpo.reporting.wording import arm_title, duration, percent


@dataclass(frozen=True)
class SettingsGroup:
    """Settings that one file recorded."""

    name: str
    rows: tuple[tuple[str, str], ...]


def settings_groups(run: RunFolder) -> list[SettingsGroup]:
    """Return what `run.json`, discovery, its proofs and every evaluation recorded."""
    groups: list[SettingsGroup] = []
    for folder, about in run.about.items():
        groups += [
            SettingsGroup(_placed(str(name), folder), _pairs(values))
            for name, values in dict(about.get("settings") or {}).items()
            if isinstance(values, Mapping)
        ]
    versions = {f: about["versions"] for f, about in run.about.items() if isinstance(about.get("versions"), Mapping)}
    alike = all(found == next(iter(versions.values())) for found in versions.values())
    for folder, found in list(versions.items())[: 1 if alike else None]:
        groups.append(SettingsGroup(_placed("Versions", "" if alike else folder), _pairs(found)))
    for heads in run.heads:
        groups += _heads_groups(heads)
    for arm in run.arms:
        if rows := _arm_rows(arm):
            groups.append(SettingsGroup(arm_title(arm.name), _pairs(rows)))
        groups += [
            SettingsGroup(f"{arm_title(arm.name)} on {name}", _pairs(_evaluation_rows(e)))
            for name, e in arm.benchmarks.items()
        ]
    return groups


def _heads_groups(heads: Heads) -> list[SettingsGroup]:
    groups = []
    if (d := heads.discovery) is not None:
        rows: dict[str, Any] = {"model": d.model, "data set": d.dataset, "labeler": d.labeler, "seed": d.seed}
        rows |= {
            "traces": d.traces,
            "responses": f"{d.num_select:,} to choose on, {d.num_report:,} to report on",
            "time": duration(d.wall_seconds),
        }
        groups.append(SettingsGroup(_placed("Discovery", heads.folder), _pairs(rows)))
    if (i := heads.intervention) is not None:
        rows = {"model": i.model, "data set": i.dataset, "traces": f"{i.num_traces:,}"}
        rows |= {
            "answers": f"{i.samples_per_trace} a trace and condition, temperature {i.temperature:g}",
            "sampled": f"{i.sampled_tokens:,} tokens",
            "time": duration(i.wall_seconds),
        }
        groups.append(SettingsGroup(_placed("Intervention", heads.folder), _pairs(rows)))
    return groups


def _placed(name: str, folder: str) -> str:
    return f"{name} in {folder}" if folder else name


def _arm_rows(arm: Arm) -> dict[str, Any]:
    rows = {} if arm.evaluation is None else _evaluation_rows(arm.evaluation)
    folder = {"folder": arm.folder} if arm.folder not in ("", arm.name) else {}
    return folder | rows | _training_rows(arm)


def _evaluation_rows(e: EvaluationResult) -> dict[str, Any]:
    rows: dict[str, Any] = {"model": e.model, "data set": e.dataset}
    rows["problems"] = f"{e.num_problems:,} × {e.samples_per_problem}"
    rows |= {"seed": e.seed, **e.sampling}
    if e.engine:
        rows["engine"] = e.engine.get("name") or ", ".join(f"{key} {value}" for key, value in e.engine.items())
    rows["time"] = f"{duration(e.wall_seconds)}, {e.tokens_per_second:,.0f} tokens/s"
    if e.overhead_share is not None:
        rows["outside the engine"] = percent(e.overhead_share)
    return rows


def _training_rows(arm: Arm) -> dict[str, Any]:
    last = arm.log[-1] if arm.log else {}
    rows: dict[str, Any] = {}
    if arm.trained is not None:
        rows |= {"trained from": arm.trained.model or "–", "method": arm.trained.method}
    if "step" in last:
        rows["trained for"] = f"{last['step']:,} steps"
    if "train_runtime" in last:
        rows["training time"] = duration(last["train_runtime"])
    return rows


def _pairs(values: Mapping[str, Any]) -> tuple[tuple[str, str], ...]:
    return tuple((str(key), str(value)) for key, value in values.items())
